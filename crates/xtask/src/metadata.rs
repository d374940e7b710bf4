//! `cargo xtask sqlx`: the metadata that lets `sqlx::query!` compile without a database.
//!
//! The queries are described by a throw-away Postgres with the migrations of the work tree. Macros
//! in unchanged files are not run again by a plain `cargo check`, and a migration changes no such
//! file: so every crate with a query is touched first, and its time put back afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::throwaway::Throwaway;
use crate::workspace::{Workspace, succeed};
use crate::wrapper;

/// Query metadata by file name.
type Queries = BTreeMap<String, Value>;

/// One folder of metadata: as committed, and as the compiler writes it now.
struct Home {
    committed: PathBuf,
    described: PathBuf,
}

/// Rewrites the committed metadata to what the migrated schema says.
///
/// Where a crate does not compile, what the others say is written all the same and nothing is
/// removed: a broken crate must not keep another one from being repaired.
pub(crate) fn write(workspace: &Workspace) -> Result<()> {
    let homes = homes(workspace)?;
    let (touched, compiled) = describe(workspace)?;
    let mut changes = 0;
    for home in &homes {
        changes += replace(home, compiled.is_ok())?;
    }
    compiled?;
    if changes == 0 {
        touched.restore()?;
    }
    // Otherwise the times stay new: ordinary builds must expand the macros again, too.
    println!("sqlx: {changes} files changed");
    Ok(())
}

/// Fails when the committed metadata is not what the migrated schema says.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let homes = homes(workspace)?;
    let (touched, compiled) = describe(workspace)?;
    touched.restore()?;
    compiled?;
    let mut differences = Vec::new();
    let mut queries = 0;
    for home in &homes {
        let described = read(&home.described)?;
        queries += described.len();
        let folder = home
            .committed
            .strip_prefix(&workspace.root)
            .unwrap_or(&home.committed);
        let found = compare(&read(&home.committed)?, &described);
        differences.extend(
            found
                .iter()
                .map(|line| format!("{}: {line}", folder.display())),
        );
    }
    if !differences.is_empty() {
        let lines = differences.join("\n  ");
        bail!("the query metadata is not up to date:\n  {lines}\nrun `cargo xtask sqlx`, commit");
    }
    println!("sqlx: the metadata of {queries} queries is up to date");
    Ok(())
}

fn homes(workspace: &Workspace) -> Result<[Home; 2]> {
    let out = out(workspace)?;
    Ok([
        Home {
            committed: workspace
                .root
                .join("crates")
                .join(wrapper::ENGINE)
                .join(".sqlx"),
            described: out.join(wrapper::ENGINE),
        },
        Home {
            committed: workspace.root.join(".sqlx"),
            described: out.join(wrapper::REST),
        },
    ])
}

fn out(workspace: &Workspace) -> Result<PathBuf> {
    Ok(workspace.target()?.join("xtask-sqlx"))
}

/// Has the compiler describe every query against the migrated schema; what it touched, and whether
/// everything compiled.
fn describe(workspace: &Workspace) -> Result<(Touched, Result<()>)> {
    let out = out(workspace)?;
    for home in homes(workspace)? {
        if home.described.exists() {
            fs::remove_dir_all(&home.described)?;
        }
        fs::create_dir_all(&home.described)?;
    }
    let database = Throwaway::migrated(workspace)?;
    let touched = Touched::new(&out, query_crates(workspace)?)?;

    let mut check = workspace.cargo();
    check
        .args(["check", "--workspace", "--keep-going", "--quiet"])
        .env("RUSTC_WORKSPACE_WRAPPER", env::current_exe()?)
        .env(wrapper::OUT, &out)
        .env("DATABASE_URL", database.url())
        .env("SQLX_OFFLINE", "false");
    let compiled = succeed(&mut check).context("not every query fits the migrated schema");
    Ok((touched, compiled))
}

/// The root files of the crates that have a query macro.
fn query_crates(workspace: &Workspace) -> Result<Vec<PathBuf>> {
    let mut crates = BTreeSet::new();
    for source in workspace.sources()? {
        let macros = ["query!", "query_as!", "query_scalar!"];
        let Some((package, _)) = source.path.split_once("/src/") else {
            continue;
        };
        if macros
            .iter()
            .any(|name| source.code_hits(name).next().is_some())
        {
            crates.insert(workspace.root.join(package).join("src"));
        }
    }
    let roots = crates
        .iter()
        .flat_map(|src| [src.join("lib.rs"), src.join("main.rs")]);
    Ok(roots.filter(|root| root.exists()).collect())
}

/// Files whose times say "changed just now" until they are put back.
struct Touched(Vec<(PathBuf, SystemTime)>);

impl Touched {
    fn new(out: &Path, files: Vec<PathBuf>) -> Result<Self> {
        // A new file's time is the clock of the file system, which cargo compares with.
        let clock = out.join("touched");
        fs::write(&clock, "")?;
        let now = fs::metadata(&clock)?.modified()?;
        let mut touched = Touched(Vec::new());
        for file in files {
            let before = fs::metadata(&file)?.modified()?;
            set_time(&file, now)?;
            touched.0.push((file, before));
        }
        Ok(touched)
    }

    fn restore(self) -> Result<()> {
        self.0
            .iter()
            .try_for_each(|(file, before)| set_time(file, *before))
    }
}

fn set_time(file: &Path, time: SystemTime) -> Result<()> {
    let opened = File::options().append(true).open(file)?;
    opened
        .set_modified(time)
        .with_context(|| format!("could not touch {}", file.display()))
}

fn read(folder: &Path) -> Result<Queries> {
    let mut queries = Queries::new();
    if !folder.exists() {
        return Ok(queries);
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let text = fs::read_to_string(&path)?;
        let query = serde_json::from_str(&text)
            .with_context(|| format!("{} is not JSON; delete it", path.display()))?;
        queries.insert(name, query);
    }
    Ok(queries)
}

/// One line per query that is missing, stale or described differently.
fn compare(committed: &Queries, described: &Queries) -> Vec<String> {
    let mut lines = Vec::new();
    for (file, now) in described {
        match committed.get(file) {
            None => lines.push(format!("missing: {} ({file})", title(now))),
            Some(before) if before != now => {
                lines.push(format!("different: {} ({file})", title(now)));
            }
            Some(_) => {}
        }
    }
    let stale = committed
        .iter()
        .filter(|(file, _)| !described.contains_key(*file));
    lines.extend(stale.map(|(file, query)| format!("stale: {} ({file})", title(query))));
    lines
}

/// The first line of a statement, which names it.
fn title(query: &Value) -> &str {
    let statement = query["query"].as_str().unwrap_or_default();
    statement
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or("no statement")
}

/// Brings what was described into the committed folder, and removes the rest if that is
/// `complete`; the number of files changed.
fn replace(home: &Home, complete: bool) -> Result<usize> {
    let mut committed = read(&home.committed)?;
    let described = read(&home.described)?;
    if !complete {
        committed.retain(|file, _| described.contains_key(file));
    }
    if !described.is_empty() {
        fs::create_dir_all(&home.committed)?;
    }
    for file in described
        .keys()
        .filter(|file| committed.get(*file) != described.get(*file))
    {
        fs::copy(home.described.join(file), home.committed.join(file))?;
    }
    for file in committed
        .keys()
        .filter(|file| !described.contains_key(*file))
    {
        fs::remove_file(home.committed.join(file))?;
    }
    Ok(compare(&committed, &described).len())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn queries(entries: &[(&str, Value)]) -> Queries {
        entries
            .iter()
            .map(|(file, query)| ((*file).to_owned(), query.clone()))
            .collect()
    }

    #[test]
    fn a_difference_names_the_query_and_its_kind() {
        let one = json!({ "query": "\n  -- invoice: lock\n  select 1", "describe": 1 });
        let other = json!({ "query": "\n  -- invoice: lock\n  select 1", "describe": 2 });

        let committed = queries(&[("a", one.clone()), ("b", one.clone())]);
        let described = queries(&[("a", other), ("c", one)]);

        assert_eq!(
            compare(&committed, &described),
            [
                "different: -- invoice: lock (a)",
                "missing: -- invoice: lock (c)",
                "stale: -- invoice: lock (b)",
            ]
        );
    }

    #[test]
    fn the_order_of_keys_is_no_difference() {
        let committed = serde_json::from_str(r#"{"hash": 1, "query": "select 1"}"#).unwrap();
        let described = serde_json::from_str(r#"{"query": "select 1", "hash": 1}"#).unwrap();

        assert!(compare(&queries(&[("a", committed)]), &queries(&[("a", described)])).is_empty());
    }
}
