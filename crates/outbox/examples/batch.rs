//! A batch: a shop counts all of its shelves at once and is told when the last one is counted.
//!
//! Each shelf is an event, and nobody keeps a counter. Run it with `cargo run -p outbox --example
//! batch`, against a database of your own: `SHELVES_DATABASE_URL=postgres://…`, or without it
//! against a private server that is gone afterwards.

use std::time::{Duration, Instant};

use outbox::batch::{State, progress};
use outbox::{
    ConsumerSpec, Event, Failure, NewBatch, NewEvent, Obsolete, Origin, Outbox, Relay,
    Transactional, UnitOfWork, Worker, WorkerConfig,
};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

const SHELVES: usize = 20_000;

/// Counts shelves; a broken one cannot be counted.
struct Counter;

impl Transactional for Counter {
    async fn apply(&self, _: &mut UnitOfWork, events: &[Event]) -> Result<Vec<Obsolete>, Failure> {
        match events
            .iter()
            .find(|event| event.payload.to_value()["broken"] == true)
        {
            Some(_) if events.len() == 1 => Err(Failure::Dead("the shelf is broken".to_owned())),
            Some(_) => Err(Failure::retry("one of them is broken")),
            None => Ok(Vec::new()),
        }
    }
}

/// Hears how it ended.
struct Owner;

impl Transactional for Owner {
    async fn apply(&self, _: &mut UnitOfWork, events: &[Event]) -> Result<Vec<Obsolete>, Failure> {
        for event in events {
            println!("{} (batch {})", event.topic, event.key);
        }
        Ok(Vec::new())
    }
}

async fn count_all(outbox: &Outbox, broken: bool) -> Result<(), AnyError> {
    let told = |topic| NewEvent::new(topic, 1, serde_json::json!({}));
    let mut tx = outbox.begin(Origin::of("owner").bulk()).await?;
    let batch = NewBatch::named("all shelves")
        .until_handled_by(&["counter"])
        .on_success(told("stock.counted"))
        .on_failure(told("stock.incomplete"));
    let batch = tx.open_batch(batch).await?;
    for nth in 0..SHELVES {
        let locked = tx.locked(outbox::ids::new());
        let facts = serde_json::json!({ "broken": broken && nth == 7 });
        tx.append_to(batch, locked, NewEvent::new("shelf.count", 1, facts));
    }
    tx.seal(batch);
    tx.commit().await?;

    let started = Instant::now();
    loop {
        let now = progress(outbox.pool(), batch.id())
            .await?
            .ok_or("no batch")?;
        let counted = now
            .readers
            .first()
            .map_or(0, |reader| reader.per_mille / 10);
        println!("{:?}: {counted} %, {} given up", now.state, now.dead);
        if matches!(now.state, State::Succeeded | State::Failed) {
            println!("{SHELVES} shelves after {:.1?}", started.elapsed());
            return Ok(());
        }
        outbox::clock::pause(Duration::from_millis(200)).await;
    }
}

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let configured = std::env::var("SHELVES_DATABASE_URL").ok();
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
    let stop = CancellationToken::new();
    let relay = tokio::spawn(Relay::new(outbox.clone()).run(stop.clone()));
    let counter = ConsumerSpec::new("counter", &["shelf.count"]);
    let owner = ConsumerSpec::new("owner", &["stock.counted", "stock.incomplete"]);
    for spec in [&counter, &owner] {
        outbox::register(outbox.pool(), spec).await?;
    }
    let mut worker = Worker::new(outbox.clone(), WorkerConfig::default());
    worker.transactional(counter, Counter);
    worker.transactional(owner, Owner);
    let worker = tokio::spawn(worker.run(stop.clone()));

    count_all(&outbox, false).await?;
    count_all(&outbox, true).await?;
    // The callbacks are events, and arrive as events do.
    outbox::clock::pause(Duration::from_millis(500)).await;
    stop.cancel();
    relay.await??;
    worker.await??;
    Ok(())
}
