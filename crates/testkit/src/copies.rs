//! Copies of a database or a whole server, as operators make them.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use sqlx::{AssertSqlSafe, Row as _};

use crate::server::Server;
use crate::wait::until;

const PROMOTED_WITHIN: Duration = Duration::from_secs(20);

/// Writes a dump of a database, as `pg_dump` makes it from one snapshot while programs run.
///
/// # Errors
/// The program's.
pub fn dump(url: &str, file: &Path) -> Result<()> {
    let mut dump = Command::new(local_postgres::program("pg_dump")?);
    run(dump
        .args(["--no-owner", "--dbname", url, "--file"])
        .arg(file))
}

/// Reads a dump into an empty database.
///
/// # Errors
/// The program's.
pub fn restore(file: &Path, url: &str) -> Result<()> {
    let mut psql = Command::new(local_postgres::program("psql")?);
    psql.args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"]);
    run(psql
        .args(["--single-transaction", "--dbname", url, "--file"])
        .arg(file))
}

impl Server {
    /// Starts another server from a base backup of this one, recovered to the instant when
    /// `at_the_end` returned: what this server does later is not in it.
    ///
    /// # Errors
    /// When the backup fails or the other server does not start.
    pub async fn recovered_copy(
        &self,
        at_the_end: impl AsyncFnOnce() -> Result<()>,
    ) -> Result<Self> {
        let mut admin = self.connect().await?;
        let started = sqlx::query("select pg_backup_start('copy', true)");
        started.execute(&mut admin).await?;
        let folder =
            tempfile::tempdir_in(self.folder().parent().context("a folder has a parent")?)?;
        let copy = folder.path().join("billing");
        run(Command::new("cp").arg("-a").arg(self.data_dir()).arg(&copy))?;
        let stopped = sqlx::query("select labelfile from pg_backup_stop(false)");
        let label: String = stopped.fetch_one(&mut admin).await?.get(0);
        at_the_end().await?;
        let point = "select pg_create_restore_point('the end'), pg_switch_wal()";
        sqlx::query(AssertSqlSafe(point))
            .execute(&mut admin)
            .await?;
        let cluster = copy.join("postgres/cluster");
        fs::write(cluster.join("backup_label"), label)?;
        fs::write(cluster.join("recovery.signal"), "")?;
        fs::remove_file(cluster.join("postmaster.pid"))?;
        let log = self.data_dir().join("postgres/cluster/pg_wal");
        let mut settings = fs::OpenOptions::new()
            .append(true)
            .open(cluster.join("postgresql.auto.conf"))?;
        writeln!(settings, "restore_command = 'cp {}/%f %p'", log.display())?;
        writeln!(settings, "recovery_target_name = 'the end'")?;
        writeln!(settings, "recovery_target_action = 'promote'")?;
        for ours in ["backup_label", "recovery.signal"] {
            let mut give = Command::new("chown");
            run(give
                .arg("--reference")
                .arg(cluster.join("PG_VERSION"))
                .arg(cluster.join(ours)))?;
        }
        let server = Self::in_folder(folder)?;
        let mut admin = server.connect().await?;
        until("the copy is promoted", PROMOTED_WITHIN, async || {
            let asked = sqlx::query_scalar("select not pg_is_in_recovery()");
            let is_promoted: Option<bool> = asked.fetch_one(&mut admin).await.ok();
            is_promoted.filter(|is| *is)
        })
        .await?;
        Ok(server)
    }
}

fn run(command: &mut Command) -> Result<()> {
    let output = command
        .output()
        .with_context(|| format!("could not run {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} failed: {said}");
    Ok(())
}
