//! The scene of a test: a data folder and a database of its own, and the programs that work there.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use local_postgres::LocalPostgres;
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use sqlx::{AssertSqlSafe, PgPool};
use tempfile::TempDir;
use testkit::{TestDb, until};

mod binaries;
mod focus;
pub(crate) mod http;
mod nats;
mod program;
mod random;

pub(crate) use self::binaries::workspace;
pub(crate) use self::focus::{Charge, Reckoning, cents};
pub(crate) use self::http::Http;
pub(crate) use self::nats::Nats;
use self::program::Program;
pub(crate) use self::program::{Ended, Running};
pub(crate) use self::random::Random;

/// How long anything may take before a test gives up. Far more than it takes on a busy machine, and
/// less than the test runner's own patience, so that the failure says what was waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(100);

const HAS_DATABASE: &str = "only a scene that was opened has a database of the test's";

/// A place where the programs work.
pub(crate) struct Scene {
    folder: TempDir,
    /// Absent where the programs run their private server.
    database: Option<TestDb>,
    started: AtomicU32,
}

impl Scene {
    /// With a migrated, empty database that the programs are given by `BILLING_DATABASE_URL`.
    pub(crate) async fn open() -> Self {
        Self::new(Some(TestDb::billing().await.unwrap()))
    }

    /// With nothing at all, as on a newcomer's machine: the programs bring a server of their own.
    pub(crate) fn bare() -> Self {
        Self::new(None)
    }

    fn new(database: Option<TestDb>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            folder,
            database,
            started: AtomicU32::new(0),
        }
    }

    /// `month-close` with arguments separated by blanks.
    pub(crate) fn month_close(&self, arguments: &str) -> Program {
        self.program("month-close", arguments)
    }

    /// `billing-api` with arguments separated by blanks.
    pub(crate) fn api(&self, arguments: &str) -> Program {
        self.program("billing-api", arguments)
    }

    /// `outbox-relay` with arguments separated by blanks.
    pub(crate) fn relay(&self, arguments: &str) -> Program {
        self.program("outbox-relay", arguments)
    }

    fn program(&self, name: &str, arguments: &str) -> Program {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let log = self.folder.path().join(format!("{number}-{name}"));
        let program = Program::new(name, &log)
            .with(arguments.split_whitespace())
            .env("BILLING_DATA_DIR", self.data_dir());
        match &self.database {
            Some(database) => program.env("BILLING_DATABASE_URL", database.url()),
            None => program,
        }
    }

    /// Closes with these arguments and `--json`, cleanly, and returns what was printed.
    pub(crate) async fn close(&self, arguments: &str) -> serde_json::Value {
        self.month_close(arguments)
            .with(["--json"])
            .run()
            .await
            .exits(0)
            .json()
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("billing")
    }

    /// Writes a usage file and returns its path.
    pub(crate) fn usage(&self, name: &str, charges: &[Charge]) -> String {
        self.file(name, &focus::written(charges))
    }

    /// Writes any file and returns its path.
    pub(crate) fn file(&self, name: &str, content: &[u8]) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// The rows of the month's CSV report, by account.
    pub(crate) fn report(&self, month: &str) -> Vec<ReportRow> {
        let path = self.data_dir().join(format!("reports/{month}.csv"));
        let mut sheet = csv::Reader::from_path(path).unwrap();
        sheet.deserialize().map(Result::unwrap).collect()
    }

    /// Every file below the documents' folder.
    pub(crate) fn documents(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        collect_files(&self.data_dir().join("documents"), &mut found);
        found
    }

    pub(crate) fn pool(&self) -> &PgPool {
        &self.database.as_ref().expect(HAS_DATABASE).pool
    }

    /// The one number that a query answers.
    pub(crate) async fn count(&self, sql: &str) -> i64 {
        let sql = format!("select coalesce(({sql}), 0)::bigint");
        sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_one(self.pool())
            .await
            .unwrap()
    }

    /// The texts that a query answers.
    pub(crate) async fn texts(&self, sql: &str) -> Vec<String> {
        sqlx::query_scalar(AssertSqlSafe(sql.to_owned()))
            .fetch_all(self.pool())
            .await
            .unwrap()
    }

    /// Runs statements.
    pub(crate) async fn sql(&self, statements: &str) {
        let ran = sqlx::raw_sql(AssertSqlSafe(statements.to_owned()))
            .execute(self.pool())
            .await;
        ran.unwrap_or_else(|error| panic!("{statements}: {error}"));
    }

    /// How many events consumers went past, counted per consumer.
    pub(crate) const HANDLED: &str = "
        select coalesce(sum(passed), 0)
        from (
            select distinct on (consumer, generation, lane, shard) passed
            from outbox.position
            order by consumer, generation, lane, shard, n desc
        ) as newest";

    pub(crate) async fn handled(&self) -> i64 {
        self.count(Self::HANDLED).await
    }

    /// Waits until a query answers at least `least`.
    pub(crate) async fn until_at_least(&self, least: i64, sql: &str) {
        let there = until(sql, PATIENCE, async || {
            (self.count(sql).await >= least).then_some(())
        });
        there.await.unwrap();
    }

    pub(crate) fn private_server_runs(&self) -> bool {
        self.private_server().exists()
    }

    /// `kill -9`, as a machine out of memory does.
    pub(crate) fn kill_private_server(&self) {
        let file = fs::read_to_string(self.private_server()).unwrap();
        let pid = file.lines().next().unwrap().parse().unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    }

    /// There while it runs, and after it was killed.
    fn private_server(&self) -> PathBuf {
        self.data_dir().join("postgres/cluster/postmaster.pid")
    }

    /// The database's URL, with its password.
    pub(crate) fn url(&self) -> &str {
        self.database.as_ref().expect(HAS_DATABASE).url()
    }
}

/// The private server of a program that was killed stays; whoever leaves it last stops it.
impl Drop for Scene {
    fn drop(&mut self) {
        if self.private_server_runs() {
            drop(LocalPostgres::start(&self.data_dir()));
        }
    }
}

/// How many consumers read each final invoice: documents, notices, payments, the report.
pub(crate) const CONSUMERS: i64 = 4;
/// Events that say that a close is settled: one, for one consumer.
pub(crate) const THE_END: i64 = 1;

/// A row of the CSV report.
#[derive(Debug, Deserialize)]
pub(crate) struct ReportRow {
    #[serde(rename = "invoice")]
    pub(crate) number: String,
    pub(crate) account: String,
    pub(crate) total: String,
    pub(crate) settled: String,
    pub(crate) state: String,
    pub(crate) payment: String,
    pub(crate) held: String,
    pub(crate) exception: String,
}

fn collect_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect_files(&path, found);
        } else {
            found.push(path);
        }
    }
}
