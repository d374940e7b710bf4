//! `cargo xtask schema`: the migrated schema as one file, for those who read and review it.
//!
//! The dump holds neither versions nor settings of the server that made it, so that two machines
//! write the same. It is never executed: what changes a database is a migration.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use crate::throwaway::{SCHEMAS, Throwaway};
use crate::workspace::Workspace;

const HEAD: &str =
    "-- The schema after all migrations. Written by `cargo xtask schema`; do not edit.\n";

/// Writes the dumps beside the migrations.
pub(crate) fn write(workspace: &Workspace) -> Result<()> {
    for (path, dump) in dumps(workspace)? {
        fs::write(&path, dump).with_context(|| format!("could not write {}", path.display()))?;
        println!("schema: wrote {}", path.display());
    }
    Ok(())
}

/// Fails when a committed dump is not the migrated schema.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    for (path, dump) in dumps(workspace)? {
        let committed = fs::read_to_string(&path).unwrap_or_default();
        if let Some(difference) = first_difference(&committed, &dump) {
            let path = path.display();
            bail!("{path} is not the migrated schema; run `cargo xtask schema`\n{difference}");
        }
    }
    println!("schema: the dumps are up to date");
    Ok(())
}

fn dumps(workspace: &Workspace) -> Result<Vec<(PathBuf, String)>> {
    let database = Throwaway::migrated(workspace)?;
    let mut dumps = Vec::new();
    for schema in SCHEMAS {
        let raw = database.dump(schema.name)?;
        dumps.push((workspace.root.join(schema.dump), readable(&raw)));
    }
    Ok(dumps)
}

/// The statements of a dump, without what differs between servers or says nothing.
fn readable(raw: &str) -> String {
    const NOISE: &[&str] = &[
        "-- Name: ",
        "-- Dumped ",
        "-- PostgreSQL database dump",
        "SET ",
        "SELECT pg_catalog.set_config",
        "\\",
    ];
    let is_noise = |line: &str| line == "--" || NOISE.iter().any(|start| line.starts_with(start));
    let mut dump = HEAD.to_owned();
    let mut gap = true;
    for line in raw.lines().filter(|line| !is_noise(line)) {
        if line.trim().is_empty() {
            gap = true;
            continue;
        }
        if gap {
            dump.push('\n');
        }
        gap = false;
        dump.push_str(line.trim_end());
        dump.push('\n');
    }
    dump
}

fn first_difference(committed: &str, dump: &str) -> Option<String> {
    if committed == dump {
        return None;
    }
    let (mut before, mut now) = (committed.lines(), dump.lines());
    let mut number = 0;
    loop {
        number += 1;
        let (before, now) = (before.next(), now.next());
        if before != now || before.is_none() {
            let end = "(end of file)";
            let (before, now) = (before.unwrap_or(end), now.unwrap_or(end));
            return Some(format!(
                "line {number}\n  committed: {before}\n  migrated:  {now}"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_between_servers_is_left_out() {
        let raw = "--\n-- PostgreSQL database dump\n--\n\n\\restrict x1\n\n-- Dumped by 15.1\n\n\
                   SET lock_timeout = 0;\n\n\ncreate table t (\n    a int\n);\n\n\\unrestrict x1\n";

        assert_eq!(
            readable(raw),
            format!("{HEAD}\ncreate table t (\n    a int\n);\n")
        );
    }

    #[test]
    fn the_first_difference_is_shown() {
        assert!(first_difference("a\nb\n", "a\nb\n").is_none());
        let found = first_difference("a\nb\n", "a\n").unwrap();
        assert_eq!(found, "line 2\n  committed: b\n  migrated:  (end of file)");
    }
}
