//! How fast a log is drained by handlers that do nothing.

use std::time::{Duration, Instant};

use anyhow::Result;
use outbox::{
    Act, ConsumerSpec, Dedupe, Event, External, Failure, Load, Obsolete, Transactional, UnitOfWork,
    Worker, WorkerConfig,
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use testkit::Server;

use crate::Args;
use crate::figures::{Turn, per_s, rate, told};
use crate::log::{Log, TOPIC, connect};
use crate::server;

/// Consumers of a worker, by how many there are.
pub(crate) const CONSUMERS: [&str; 8] = [
    "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth",
];
/// How often it is asked whether all is handled.
pub(crate) const LOOK: Duration = Duration::from_millis(20);

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
    External(usize),
}

/// What is compared.
const COMPARED: [Who; 4] = [
    Who::Transactional(1),
    Who::External(1),
    Who::Transactional(8),
    Who::External(8),
];

/// Whoever comes first in one turn comes last in the next: what they read is warm by then.
pub(crate) async fn measure(server: &Server, args: &Args) -> Result<Value> {
    let mut turns: [Vec<Turn>; COMPARED.len()] = Default::default();
    #[cfg(feature = "nats")]
    let mut over_nats = crate::nats::Turns::default();
    for turn in 1..=args.repeats {
        eprintln!("drain: turn {turn} of {}", args.repeats);
        let log = Log::fresh(server, &format!("drain_{turn}")).await?;
        log.load(args.events).await?;
        warm_up(server, &log, args.events).await?;
        let mut order: Vec<_> = COMPARED.into_iter().zip(&mut turns).collect();
        if turn % 2 == 0 {
            order.reverse();
        }
        for (who, turns) in order {
            turns.push(drain(server, &log, args.events, who).await?);
        }
        log.close().await;
        #[cfg(feature = "nats")]
        over_nats.measure(server, turn, args.events).await?;
    }
    let [one, external, eight, external_8] = &turns;
    #[cfg_attr(not(feature = "nats"), expect(unused_mut))]
    let mut report = json!({
        "events": args.events,
        "transactional_per_s": rate(one),
        "transactional_8_per_s": rate(eight),
        "external_per_s": rate(external),
        "external_8_per_s": rate(external_8),
        "transactional": told(one),
        "transactional_8": told(eight),
        "external": told(external),
        "external_8": told(external_8),
    });
    #[cfg(feature = "nats")]
    over_nats.tell(&mut report);
    Ok(report)
}

/// After a checkpoint: who drains first would pay for the hints of rows that nobody has read, and
/// for whole pages of what all of them write.
async fn warm_up(server: &Server, log: &Log, events: u64) -> Result<()> {
    server::checkpoint(server).await?;
    drain(server, log, events, Who::Transactional(1)).await?;
    Ok(())
}

/// Drains the whole log with consumers that begin at its beginning.
async fn drain(server: &Server, log: &Log, events: u64, who: Who) -> Result<Turn> {
    drain_with(server, log, events, who, WorkerConfig::default()).await
}

/// By one transactional consumer that is configured like this.
#[cfg(feature = "nats")]
pub(crate) async fn from(
    server: &Server,
    log: &Log,
    events: u64,
    config: WorkerConfig,
) -> Result<Turn> {
    drain_with(server, log, events, Who::Transactional(1), config).await
}

async fn drain_with(
    server: &Server,
    log: &Log,
    events: u64,
    who: Who,
    config: WorkerConfig,
) -> Result<Turn> {
    forget_consumers(log).await?;
    let pool = connect(&log.url).await?;
    let mut worker = Worker::new(outbox::Outbox::new(pool.clone()), config);
    let consumers = match who {
        Who::External(number) => {
            for name in &CONSUMERS[..number] {
                worker.external(ConsumerSpec::new(name, &[TOPIC]), Nothing);
            }
            number as u64
        }
        Who::Transactional(number) => {
            for name in &CONSUMERS[..number] {
                worker.transactional(ConsumerSpec::new(name, &[TOPIC]), Nothing);
            }
            number as u64
        }
    };
    let mark = server::mark(server).await?;
    let (stop, began) = (CancellationToken::new(), Instant::now());
    let working = tokio::spawn(worker.run(stop.clone()));
    let all = i64::try_from(events * consumers)?;
    while outbox::handled(&log.pool).await? < all {
        outbox::clock::pause(LOOK).await;
    }
    let took = began.elapsed();
    let spent = server::since(server, &mark).await?;
    stop.cancel();
    working.await??;
    pool.close().await;
    let turn = Turn {
        events: events * consumers,
        per_s: per_s(events * consumers, took.as_micros()),
        spent,
    };
    eprintln!("drain: {who:?} {} events/s", turn.per_s);
    Ok(turn)
}

/// Those of the turn before.
async fn forget_consumers(log: &Log) -> Result<()> {
    let forget = "delete from outbox.member; delete from outbox.position;
        delete from outbox.consumer";
    sqlx::raw_sql(forget).execute(&log.pool).await?;
    Ok(())
}
