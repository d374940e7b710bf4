//! A recurring event: a shop opens its shutters every two seconds, three relays run, and each slot
//! happens once.
//!
//! Run it with `cargo run -p outbox --example recurring`, against a database of your own:
//! `SHUTTERS_DATABASE_URL=postgres://…`, or without it against a private server that is gone
//! afterwards.

use std::time::Duration;

use outbox::schedule::{self, Missed, NewSchedule};
use outbox::{
    ConsumerSpec, Event, Failure, Obsolete, Origin, Outbox, Relay, Transactional, UnitOfWork,
    Worker, WorkerConfig,
};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Says which slot it was, and how long after it was told.
struct Janitor;

impl Transactional for Janitor {
    async fn apply(&self, _: &mut UnitOfWork, events: &[Event]) -> Result<Vec<Obsolete>, Failure> {
        for event in events {
            let facts = event.payload.to_value();
            let slot = facts["slot"].as_str().unwrap_or_default();
            let slot: chrono::DateTime<chrono::Utc> = slot.parse().map_err(Failure::retry)?;
            let late = (outbox::clock::now() - slot).num_milliseconds();
            println!(
                "the slot of {} was told after {late} ms",
                slot.format("%H:%M:%S")
            );
        }
        Ok(Vec::new())
    }
}

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let configured = std::env::var("SHUTTERS_DATABASE_URL").ok();
    let folder = tempfile::tempdir()?;
    let local = match &configured {
        Some(_) => None,
        None => Some(local_postgres::LocalPostgres::start(folder.path())?),
    };
    let url = configured
        .or_else(|| local.as_ref().map(|local| local.url()))
        .unwrap_or_default();
    let pool = PgPool::connect(&url).await?;
    outbox::migrate(&pool).await?;

    let outbox = Outbox::new(pool);
    let mut tx = outbox.begin(Origin::of("owner")).await?;
    let shutters = NewSchedule {
        name: "shutters".to_owned(),
        cron: "*/2 * * * * *".to_owned(),
        zone: "Europe/Berlin".to_owned(),
        missed: Missed::Once,
        key: outbox::ids::new(),
        topic: "shutters.open".to_owned(),
        schema_version: 1,
        payload: serde_json::json!({}),
    };
    schedule::put(&mut tx, &shutters).await?;
    tx.commit().await?;

    let stop = CancellationToken::new();
    let relays: Vec<_> = (0..3)
        .map(|_| tokio::spawn(Relay::new(outbox.clone()).run(stop.clone())))
        .collect();
    let mut worker = Worker::new(outbox.clone(), WorkerConfig::default());
    worker.transactional(ConsumerSpec::new("janitor", &["shutters.open"]), Janitor);
    let worker = tokio::spawn(worker.run(stop.clone()));

    outbox::clock::pause(Duration::from_secs(9)).await;
    let mut tx = outbox.begin(Origin::of("owner")).await?;
    schedule::remove(&mut tx, "shutters").await?;
    tx.commit().await?;
    stop.cancel();
    for relay in relays {
        relay.await??;
    }
    worker.await??;
    Ok(())
}
