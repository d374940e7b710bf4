//! How fast a log is drained by handlers that do nothing.

use std::time::{Duration, Instant};

use anyhow::Result;
use outbox::{
    Act, ConsumerSpec, Dedupe, Event, External, Failure, Load, Obsolete, Transactional, UnitOfWork,
    Worker, WorkerConfig,
};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use testkit::Server;

use crate::Args;
use crate::figures::{median_of, number, per_s, spread};
use crate::log::{Log, TOPIC, connect};
use crate::server::{self, processor_ms_of};

/// Consumers of a worker, by how many there are.
pub(crate) const CONSUMERS: [&str; 8] = [
    "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth",
];
/// How often it is asked whether all is handled.
const LOOK: Duration = Duration::from_millis(20);

/// A handler that does nothing.
pub(crate) struct Nothing;

impl Transactional for Nothing {
    async fn apply(&self, _: &mut UnitOfWork, _: &[Event]) -> Result<Vec<Obsolete>, Failure> {
        Ok(Vec::new())
    }
}

impl External for Nothing {
    type Intent = ();
    type Answer = ();

    const DEDUPE: Dedupe = Dedupe::IdempotentSink;

    async fn load(&self, _: &mut UnitOfWork, events: &[Event]) -> Result<Vec<Load<()>>, Failure> {
        Ok(events.iter().map(|_| Load::Call(())).collect())
    }

    async fn act(&self, (): &()) -> Act<()> {
        Act::Answer(())
    }

    async fn settle(&self, _: &mut UnitOfWork, _: Vec<((), ())>) -> Result<(), Failure> {
        Ok(())
    }
}

/// Who drains.
#[derive(Debug, Clone, Copy)]
enum Who {
    Transactional(usize),
    External,
}

struct Drained {
    per_s: Decimal,
    wal_bytes: u64,
    server_ms: u64,
    client_ms: u64,
}

pub(crate) async fn measure(server: &Server, args: &Args) -> Result<Value> {
    let (mut one, mut eight, mut external) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 1..=args.repeats {
        eprintln!("drain: turn {turn} of {}", args.repeats);
        let log = Log::fresh(server, &format!("drain_{turn}")).await?;
        log.load(args.events).await?;
        one.push(drain(server, &log, args.events, Who::Transactional(1)).await?);
        external.push(drain(server, &log, args.events, Who::External).await?);
        eight.push(drain(server, &log, args.events, Who::Transactional(8)).await?);
        log.close().await;
    }
    let report = json!({
        "events": args.events,
        "transactional_per_s": rate(&one),
        "transactional_8_per_s": rate(&eight),
        "external_per_s": rate(&external),
        "transactional": told(&one, args.events),
        "transactional_8": told(&eight, args.events),
        "external": told(&external, args.events),
    });
    #[cfg(feature = "nats")]
    let report = over_nats(server, args, report).await?;
    Ok(report)
}

/// The same from a stream. A tenth of the events: publishing waits for the disk.
#[cfg(feature = "nats")]
async fn over_nats(server: &Server, args: &Args, mut report: Value) -> Result<Value> {
    let (mut published, mut drained) = (Vec::new(), Vec::new());
    for turn in 1..=args.repeats {
        let [filled, read] = crate::nats::turn(server, turn, (args.events / 10).max(1_000)).await?;
        published.push(filled);
        drained.push(read);
    }
    report["nats_per_s"] = number(median_of(&drained));
    report["nats"] = spread(drained);
    report["nats_published"] = spread(published);
    Ok(report)
}

fn rate(turns: &[Drained]) -> Value {
    let rates: Vec<Decimal> = turns.iter().map(|turn| turn.per_s).collect();
    number(median_of(&rates))
}

fn told(turns: &[Drained], events: u64) -> Value {
    let last = &turns[turns.len() - 1];
    json!({
        "per_s": spread(turns.iter().map(|turn| turn.per_s).collect()),
        "wal_bytes_per_event": number(Decimal::from(last.wal_bytes * 10 / events) / Decimal::TEN),
        "server_cpu_ms": last.server_ms,
        "client_cpu_ms": last.client_ms,
    })
}

/// Drains the whole log with consumers that begin at its beginning.
async fn drain(server: &Server, log: &Log, events: u64, who: Who) -> Result<Drained> {
    drain_with(server, log, events, who, WorkerConfig::default()).await
}

/// By one transactional consumer that is configured like this; events per second.
#[cfg(feature = "nats")]
pub(crate) async fn from(
    server: &Server,
    log: &Log,
    events: u64,
    config: WorkerConfig,
) -> Result<Decimal> {
    let drained = drain_with(server, log, events, Who::Transactional(1), config).await?;
    Ok(drained.per_s)
}

async fn drain_with(
    server: &Server,
    log: &Log,
    events: u64,
    who: Who,
    config: WorkerConfig,
) -> Result<Drained> {
    forget_consumers(log).await?;
    let pool = connect(&log.url).await?;
    let mut worker = Worker::new(outbox::Outbox::new(pool.clone()), config);
    let consumers = match who {
        Who::External => {
            worker.external(ConsumerSpec::new("outside", &[TOPIC]), Nothing);
            1
        }
        Who::Transactional(number) => {
            for name in &CONSUMERS[..number] {
                worker.transactional(ConsumerSpec::new(name, &[TOPIC]), Nothing);
            }
            number as u64
        }
    };
    let mark = server::mark(server).await?;
    let client_ms = processor_ms_of(std::process::id());
    let (stop, began) = (CancellationToken::new(), Instant::now());
    let working = tokio::spawn(worker.run(stop.clone()));
    let all = i64::try_from(events * consumers)?;
    while outbox::handled(&log.pool).await? < all {
        outbox::clock::pause(LOOK).await;
    }
    let took = began.elapsed();
    let spent = server::since(server, &mark).await?;
    let client_ms = processor_ms_of(std::process::id()) - client_ms;
    stop.cancel();
    working.await??;
    pool.close().await;
    let drained = Drained {
        per_s: per_s(events * consumers, took.as_micros()),
        wal_bytes: spent.wal_bytes,
        server_ms: spent.server_ms,
        client_ms,
    };
    eprintln!("drain: {who:?} {} events/s", drained.per_s);
    Ok(drained)
}

/// Those of the turn before.
async fn forget_consumers(log: &Log) -> Result<()> {
    let forget = "delete from outbox.member; delete from outbox.position;
        delete from outbox.consumer";
    sqlx::raw_sql(forget).execute(&log.pool).await?;
    Ok(())
}
