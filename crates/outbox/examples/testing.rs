//! How to test a product that is built on an outbox: the steps of a test, one after the other.
//!
//! A courier turns a parcel away twice and takes it at last. No step sleeps: everything is handled
//! until nothing is left to do now, and time passes when the test says so. Run it with `cargo run
//! -p outbox --example testing`, against a database of your own, of which it must be the only user:
//! `COURIER_DATABASE_URL=postgres://…`, or without it against a private server that is gone
//! afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use outbox::{
    ConsumerSpec, Event, Failure, NewEvent, Obsolete, Origin, Outbox, Transactional, UnitOfWork,
    Worker, WorkerConfig, testing,
};
use sqlx::PgPool;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

const HOUR: Duration = Duration::from_secs(3600);

/// Takes a parcel at the third try.
#[derive(Clone, Default)]
struct Courier {
    tries: Arc<AtomicU32>,
}

impl Transactional for Courier {
    async fn apply(&self, tx: &mut UnitOfWork, events: &[Event]) -> Result<Vec<Obsolete>, Failure> {
        for event in events {
            if self.tries.fetch_add(1, Ordering::Relaxed) < 2 {
                return Err(Failure::Retry {
                    error: "nobody opens".to_owned(),
                    after: Some(HOUR),
                });
            }
            delivered(tx, event);
        }
        Ok(Vec::new())
    }
}

fn delivered(tx: &mut UnitOfWork, event: &Event) {
    let locked = tx.locked(event.key);
    let facts = serde_json::json!({ "of": event.payload.to_value()["item"] });
    tx.append(locked, NewEvent::new("parcel.delivered", 1, facts));
}

async fn send(outbox: &Outbox) -> Result<(), AnyError> {
    let mut tx = outbox.begin(Origin::of("shop")).await?;
    let locked = tx.locked(outbox::ids::new());
    let facts = serde_json::json!({ "item": "book" });
    tx.append(locked, NewEvent::new("parcel.sent", 1, facts));
    println!("it will announce {:?}", testing::announced(&tx)[0].1.topic);
    tx.commit().await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let configured = std::env::var("COURIER_DATABASE_URL").ok();
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

    let courier = Courier::default();
    let worker = || {
        let mut worker = Worker::new(outbox.clone(), WorkerConfig::default());
        let spec = ConsumerSpec::new("courier", &["parcel.sent"]);
        worker.transactional(spec, courier.clone());
        worker
    };

    let log = testing::Log::from_here(&outbox).await?;
    send(&outbox).await?;
    for hour in 0..3 {
        testing::drain(worker()).await?;
        println!("after {hour} hours: {:?}", log.topics().await?);
        testing::advance(&outbox, HOUR).await?;
    }

    let delivered = log.of("parcel.delivered").await?;
    assert_eq!(delivered.len(), 1);
    assert_eq!(delivered[0].payload.to_value()["of"], "book");
    assert_eq!(courier.tries.load(Ordering::Relaxed), 3);
    println!("delivered once, at the third try; it took nobody an hour");
    Ok(())
}
