//! A company whose sample month is closed, and whose events wait for their consumers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use billing::gateway::Gateways;
use billing::import::{ImportOptions, OnBadRow, focus};
use billing::month_close;
use billing_workers::{MailConfig, WorkersConfig};
use chrono::{DateTime, NaiveDate, Utc};
use outbox::{
    BacklogWatch, Event, Origin, Outbox, Recorded, Relay, RunError, Worker, WorkerConfig,
};
use sqlx::Row as _;
use tempfile::TempDir;
use testkit::{TestDb, until};
use tokio_util::sync::CancellationToken;

const FILE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../samples/focus/focus_2024-09.csv"
);
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) outbox: Outbox,
    pub(crate) folder: TempDir,
    _db: TestDb,
}

pub(crate) fn september() -> NaiveDate {
    "2024-09-01".parse().unwrap()
}

pub(crate) fn origin() -> Origin {
    Origin::of("Ada").bulk().because("a test")
}

impl World {
    pub(crate) async fn closed() -> Self {
        let db = TestDb::billing().await.unwrap();
        let outbox = Outbox::new(db.pool.clone());
        let now: DateTime<Utc> = "2025-01-01T00:00:00Z".parse().unwrap();
        let import = ImportOptions {
            on_bad_row: OnBadRow::Stop,
            now,
        };
        focus::import_file(&outbox, origin(), Path::new(FILE), import, |_| ())
            .await
            .unwrap();
        for spec in billing_workers::specs() {
            outbox::register(&db.pool, &spec).await.unwrap();
        }
        let options = month_close::Options {
            settled_by: (billing_workers::settling().iter())
                .map(|spec| spec.name)
                .collect(),
            ..month_close::Options::new(september(), now, now, origin())
        };
        month_close::run(&outbox, &options, &|_| ()).await.unwrap();
        Self {
            outbox,
            folder: tempfile::tempdir().unwrap(),
            _db: db,
        }
    }

    pub(crate) fn documents_dir(&self) -> PathBuf {
        self.folder.path().join("documents")
    }

    pub(crate) fn reports_dir(&self) -> PathBuf {
        self.folder.path().join("reports")
    }

    /// Runs relay and workers until nothing is left to do.
    pub(crate) async fn deliver_everything(&self) {
        let running = self.start(|| ());
        until("every event to be handled", PATIENCE, async || {
            self.is_drained().await.then_some(())
        })
        .await
        .unwrap();
        running.stop().await;
    }

    /// Starts the workers, does something, and starts the relay: no event is seen before.
    pub(crate) fn start(&self, before_events: impl FnOnce()) -> Running {
        let config = WorkersConfig {
            documents_dir: self.documents_dir(),
            reports_dir: self.reports_dir(),
            gateways: Gateways::default(),
            mail: MailConfig::new(self.folder.path().join("mail"), None, None).unwrap(),
            outbox: self.outbox.clone(),
        };
        let mut worker = Worker::new(self.outbox.clone(), WorkerConfig::default());
        billing_workers::add_all(&mut worker, &config, None).unwrap();
        let stop = CancellationToken::new();
        let worker = tokio::spawn(worker.run(stop.clone()));
        before_events();
        let relay = tokio::spawn(Relay::new(self.outbox.clone()).run(stop.clone()));
        Running {
            relay,
            worker,
            stop,
        }
    }

    async fn is_drained(&self) -> bool {
        // One that is not registered yet has nothing to do, as far as anybody knows.
        let registered = self.ask("select count(*)::text from outbox.consumer").await;
        let names = billing_workers::names();
        let mut backlogs = BacklogWatch::new(self.outbox.pool().clone());
        let rest = backlogs.rest(&names).await.unwrap();
        registered == names.len().to_string() && rest.is_some_and(|rest| rest.waiting == 0)
    }

    pub(crate) async fn ask(&self, question: &'static str) -> String {
        let answer: Option<String> = sqlx::query_scalar(question)
            .fetch_one(self.outbox.pool())
            .await
            .unwrap();
        answer.unwrap_or_default()
    }

    /// The events of the final invoices, as the log hands them to a consumer.
    pub(crate) async fn finalized(&self) -> Vec<Event> {
        let rows = sqlx::query(
            "select event_id, topic, schema_version, key, at, payload
             from outbox.event where topic = 'invoice.finalized' order by id",
        );
        let rows = rows.fetch_all(self.outbox.pool()).await.unwrap();
        let event = |row: &sqlx::postgres::PgRow| {
            Recorded {
                event_id: row.get("event_id"),
                at: row.get("at"),
                ..Recorded::unlogged(
                    row.get("topic"),
                    row.get("schema_version"),
                    row.get("key"),
                    row.get("payload"),
                )
            }
            .into()
        };
        rows.iter().map(event).collect()
    }
}

/// Relay and workers at work.
pub(crate) struct Running {
    stop: CancellationToken,
    relay: tokio::task::JoinHandle<Result<(), RunError>>,
    worker: tokio::task::JoinHandle<Result<(), RunError>>,
}

impl Running {
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.relay.await.unwrap().unwrap();
        self.worker.await.unwrap().unwrap();
    }
}

/// The files below a folder, relative to it, in order.
pub(crate) fn files_below(root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path)
            } else {
                files.push(path)
            }
        }
    }
    let relative = |path: PathBuf| path.strip_prefix(root).unwrap().to_owned();
    let mut files: Vec<PathBuf> = files.into_iter().map(relative).collect();
    files.sort();
    files
}
