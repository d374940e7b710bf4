//! A batch of very many members with a second wave: how fast it is done, and what it leaves behind.

use std::time::Instant;

use anyhow::Result;
use outbox::batch::{State, progress};
use outbox::{
    Batch, ConsumerSpec, Event, Failure, NewBatch, NewEvent, Obsolete, Origin, Outbox, Relay,
    Transactional, UnitOfWork, Worker, WorkerConfig,
};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::{Value, json};
use testkit::Server;
use tokio_util::sync::CancellationToken;

use crate::Args;
use crate::drain::{CONSUMERS, LOOK, Nothing};
use crate::figures::{median_of, number, per_s, spread};
use crate::log::{Log, TOPIC, connect};

/// How many consumers handle each member.
const READERS: usize = 4;
/// The topic of the second wave.
const FOLLOWING: &str = "order.followed";
/// Of so many members one is followed by a member of the second wave.
const FOLLOWED: i64 = 1_000;

/// Rows that there would not be without the batch: the batch, its callbacks and waves; seals and
/// what was announced; a position for each shard that passed a seal.
const ROWS: &str = "select (select count(*) from outbox.batch)
    + (select count(*) from outbox.batch_callback)
    + (select count(*) from outbox.batch_wave)
    + (select count(*) from outbox.delivery)
    + (select count(*) from outbox.event where topic not in ('order.placed', 'order.followed'))
    + (select count(*) from outbox.position
        join outbox.event using (id) where event.topic = 'outbox.sealed')";

/// A handler that appends something for some events.
struct Follower;

#[derive(Deserialize)]
struct Made {
    made_at: i64,
}

impl Transactional for Follower {
    async fn apply(&self, tx: &mut UnitOfWork, events: &[Event]) -> Result<Vec<Obsolete>, Failure> {
        for event in events {
            let made: Made = event.payload.read().map_err(Failure::retry)?;
            if made.made_at % FOLLOWED == 0 {
                let locked = tx.locked(event.key);
                tx.append(locked, NewEvent::new(FOLLOWING, 1, json!({ "made_at": 1 })));
            }
        }
        Ok(Vec::new())
    }
}

pub(crate) async fn measure(server: &Server, args: &Args) -> Result<Value> {
    let (mut rates, mut rows) = (Vec::new(), 0_i64);
    for turn in 1..=args.repeats {
        eprintln!("batch: turn {turn} of {}", args.repeats);
        let log = Log::fresh(server, &format!("batch_{turn}")).await?;
        let batch = filled(&log, args.members).await?;
        rates.push(done(&log, batch, args.members).await?);
        rows = rows.max(sqlx::query_scalar(ROWS).fetch_one(&log.pool).await?);
        log.close().await;
    }
    Ok(json!({
        "members": args.members,
        "consumers": READERS,
        "waves": 2,
        "rows": rows,
        "per_s": number(median_of(&rates)),
        "turns": spread(rates),
    }))
}

/// A sealed batch with its members.
async fn filled(log: &Log, members: u64) -> Result<Batch> {
    for name in &CONSUMERS[..READERS] {
        outbox::register(&log.pool, &spec(name)).await?;
    }
    let told = |topic| NewEvent::new(topic, 1, json!({}));
    let new = NewBatch::named("bench")
        .on_success(told("bench.over"))
        .on_failure(told("bench.broken"))
        .on_completion(told("bench.ended"));
    let mut tx = log.outbox.begin(Origin::of("bench").bulk()).await?;
    let batch = tx.open_batch(new).await?;
    tx.commit().await?;
    log.generate_for(Some(batch.id()), members, &[1]).await?;
    let mut tx = log.outbox.begin(Origin::of("bench").bulk()).await?;
    tx.seal(batch);
    tx.commit().await?;
    Ok(batch)
}

fn spec(name: &'static str) -> ConsumerSpec {
    ConsumerSpec::new(name, &[TOPIC, FOLLOWING])
}

/// Handles everything until the batch has ended; members times consumers per second.
async fn done(log: &Log, batch: Batch, members: u64) -> Result<Decimal> {
    let outbox = Outbox::new(connect(&log.url).await?);
    let mut worker = Worker::new(outbox.clone(), WorkerConfig::default());
    let (follower, others) = (CONSUMERS[0], &CONSUMERS[1..READERS]);
    worker.transactional(spec(follower), Follower);
    for name in others {
        worker.transactional(spec(name), Nothing);
    }
    let (stop, began) = (CancellationToken::new(), Instant::now());
    let relaying = tokio::spawn(Relay::new(outbox.clone()).run(stop.clone()));
    let working = tokio::spawn(worker.run(stop.clone()));
    while progress(&log.pool, batch.id())
        .await?
        .is_none_or(|progress| matches!(progress.state, State::Open | State::Sealed))
    {
        outbox::clock::pause(LOOK).await;
    }
    let took = began.elapsed();
    stop.cancel();
    working.await??;
    relaying.await??;
    outbox.pool().close().await;
    let rate = per_s(members * READERS as u64, took.as_micros());
    eprintln!("batch: {rate} members/s");
    Ok(rate)
}
