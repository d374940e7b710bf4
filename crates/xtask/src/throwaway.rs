//! A throw-away database with the migrations of the work tree.
//!
//! The SQL files are applied by `psql`, in the order of their numbers, each in a transaction, as
//! the migrators of the two crates would. The crates cannot be asked to: this program must build
//! while their queries do not compile.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command};

use anyhow::{Context as _, Result};
use local_postgres::LocalPostgres;

use crate::workspace::{Workspace, output};

/// The private cluster of the tests, under the target directory.
pub(crate) const CLUSTER: &str = "test-postgres";

/// A schema, the folder of its migrations, and the file of its dump.
pub(crate) struct Schema {
    pub(crate) name: &'static str,
    migrations: &'static str,
    pub(crate) dump: &'static str,
}

/// In the order in which they are migrated: the product refers to the engine.
pub(crate) const SCHEMAS: &[Schema] = &[
    Schema {
        name: "outbox",
        migrations: "crates/outbox/migrations",
        dump: "crates/outbox/schema.sql",
    },
    Schema {
        name: "billing",
        migrations: "migrations",
        dump: "migrations/schema.sql",
    },
];

/// A migrated database of the private cluster, dropped when this value is.
pub(crate) struct Throwaway {
    cluster: LocalPostgres,
    name: String,
}

impl Throwaway {
    pub(crate) fn migrated(workspace: &Workspace) -> Result<Self> {
        let folder = workspace.target()?.join(CLUSTER);
        let cluster = LocalPostgres::start(&folder).context("could not start a Postgres")?;
        let name = format!("xtask_{}", process::id());
        psql(
            &cluster.url(),
            &[&format!("--command=create database {name}")],
        )?;

        let database = Throwaway { cluster, name };
        for schema in SCHEMAS {
            database.migrate(schema, &workspace.root)?;
        }
        Ok(database)
    }

    pub(crate) fn url(&self) -> String {
        self.cluster.url_of(&self.name)
    }

    /// The definition of one schema, as `pg_dump` writes it.
    pub(crate) fn dump(&self, schema: &str) -> Result<String> {
        let mut dump = Command::new("pg_dump");
        dump.args([
            "--schema-only",
            "--no-owner",
            "--no-privileges",
            "--schema",
            schema,
        ]);
        let dumped = output(dump.arg(self.url()))?;
        String::from_utf8(dumped.stdout).context("the dump is not UTF-8")
    }

    fn migrate(&self, schema: &Schema, root: &Path) -> Result<()> {
        let create = format!("--command=create schema if not exists {}", schema.name);
        psql(&self.url(), &[&create])?;
        for file in migration_files(&root.join(schema.migrations))? {
            let alone = fs::read_to_string(&file)?.starts_with("-- no-transaction");
            let mode = if alone {
                "--quiet"
            } else {
                "--single-transaction"
            };
            psql(&self.url(), &[mode, &format!("--file={}", file.display())])?;
        }
        Ok(())
    }
}

impl Drop for Throwaway {
    fn drop(&mut self) {
        let drop = format!("--command=drop database {} with (force)", self.name);
        if let Err(err) = psql(&self.cluster.url(), &[&drop]) {
            eprintln!("xtask: the database {} is left behind: {err:#}", self.name);
        }
    }
}

fn psql(url: &str, arguments: &[&str]) -> Result<()> {
    let mut psql = Command::new("psql");
    psql.args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"])
        .args(arguments)
        .arg(url);
    output(&mut psql).map(drop)
}

/// The migrations of a folder in the order in which they are applied.
///
/// Only `<number>_<what>.sql` is one, as for the migrator of sqlx: the dump beside them is not.
fn migration_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut numbered = Vec::new();
    let entries = fs::read_dir(folder).with_context(|| format!("no {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if let Some(number) = migration_number(&path) {
            numbered.push((number, path));
        }
    }
    numbered.sort();
    Ok(numbered.into_iter().map(|(_, path)| path).collect())
}

fn migration_number(path: &Path) -> Option<i64> {
    let name = path.file_name()?.to_str()?;
    let (number, what) = name.split_once('_')?;
    what.ends_with(".sql").then(|| number.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dump_beside_the_migrations_is_none() {
        assert_eq!(
            migration_number(Path::new("migrations/0012_invoice.sql")),
            Some(12)
        );
        assert_eq!(migration_number(Path::new("migrations/schema.sql")), None);
        assert_eq!(
            migration_number(Path::new("migrations/0012_invoice.md")),
            None
        );
    }
}
