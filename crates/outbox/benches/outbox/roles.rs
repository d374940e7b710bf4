//! What the processes of a measurement do.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use futures::future::try_join_all;
use outbox::transport::Transport;
use outbox::{
    ConsumerSpec, Event, Failure, Lane, Obsolete, Origin, Outbox, Relay, Transactional, UnitOfWork,
    Worker, WorkerConfig,
};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::Role;
use crate::drain::CONSUMERS;
use crate::log::{TOPIC, WRITERS, connect, connect_as, event};

/// Appends one event per transaction.
#[derive(Debug, Clone, Args)]
pub(crate) struct Append {
    /// The database
    pub(crate) url: String,
    /// How many
    pub(crate) events: u64,
    /// How many in a second; as fast as possible when absent
    #[arg(long)]
    pub(crate) per_s: Option<u64>,
}

/// Works until all events were handled by each consumer, and prints what it saw.
#[derive(Debug, Clone, Args)]
pub(crate) struct Work {
    /// The database
    pub(crate) url: String,
    /// How many events are expected
    pub(crate) events: u64,
    /// How many consumers handle each
    #[arg(long, default_value_t = 1)]
    pub(crate) consumers: usize,
    /// Only interactive events are expected and watched; others are counted
    #[arg(long)]
    pub(crate) interactive: bool,
    /// The NATS server from which they are read
    #[arg(long)]
    pub(crate) nats: Option<String>,
}

/// What a worker saw.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// From the making of the first event to the handling of the last.
    pub(crate) took_us: u64,
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) max_us: u64,
    /// How many bulk events were handled where only interactive ones are watched.
    pub(crate) others: u64,
    /// From the start of the worker until it had seen everything.
    pub(crate) lived_us: u64,
}

pub(crate) async fn play(role: Role) -> Result<()> {
    match role {
        Role::Append(append) => append.play().await,
        Role::Relay { url, nats } => relay(&url, nats.as_deref()).await,
        Role::Work(work) => work.play().await,
    }
}

async fn relay(url: &str, nats: Option<&str>) -> Result<()> {
    let outbox = Outbox::new(connect_as(url, "relay").await?);
    if let Some(nats) = nats {
        publish(&outbox, nats).await?;
    }
    Ok(Relay::new(outbox).run(CancellationToken::new()).await?)
}

/// The streams' names begin with this.
#[cfg(feature = "nats")]
const STREAMS: &str = "bench";

/// Fills the stream of the lane that is measured, beside the relay.
#[cfg(feature = "nats")]
async fn publish(outbox: &Outbox, nats: &str) -> Result<()> {
    let streams = crate::nats::streams(nats, STREAMS).await?;
    for lane in outbox::Lane::ALL {
        let publisher =
            outbox::transport::jetstream::Publisher::new(outbox.clone(), streams.clone(), lane);
        tokio::spawn(publisher.run(CancellationToken::new()));
    }
    Ok(())
}

#[cfg(feature = "nats")]
async fn transport(nats: &str) -> Result<Transport> {
    let streams = crate::nats::streams(nats, STREAMS).await?;
    Ok(Transport::JetStream(Box::new(streams)))
}

#[cfg(not(feature = "nats"))]
async fn publish(_: &Outbox, nats: &str) -> Result<()> {
    anyhow::bail!("{nats}: built without the feature nats")
}

#[cfg(not(feature = "nats"))]
async fn transport(nats: &str) -> Result<Transport> {
    anyhow::bail!("{nats}: built without the feature nats")
}

impl Append {
    pub(crate) async fn play(self) -> Result<()> {
        let outbox = Outbox::new(connect(&self.url).await?);
        open_all(&outbox).await?;
        let share = self.events.div_ceil(WRITERS.into());
        // Each writer keeps a pace of its own, out of step with the others.
        let pace = self
            .per_s
            .map(|per_s| Duration::from_micros(1_000_000 * u64::from(WRITERS) / per_s));
        let writer = async |nth: u32| -> Result<()> {
            let began = Instant::now();
            for n in 0..share {
                if let Some(pace) = pace {
                    let due = pace * nth / WRITERS + pace * u32::try_from(n)?;
                    outbox::clock::pause(due.saturating_sub(began.elapsed())).await;
                }
                append(&outbox).await?;
            }
            Ok(())
        };
        try_join_all((0..WRITERS).map(writer)).await?;
        Ok(())
    }
}

/// Sixteen log-ins take both cores for a while, which none of the events is to wait for.
async fn open_all(outbox: &Outbox) -> Result<()> {
    let begun = (0..WRITERS).map(|_| outbox.begin(Origin::of("bench")));
    for opened in try_join_all(begun).await? {
        opened.rollback().await?;
    }
    Ok(())
}

async fn append(outbox: &Outbox) -> Result<()> {
    let mut tx = outbox.begin(Origin::of("bench")).await?;
    let locked = tx.locked(outbox::ids::new());
    tx.append(locked, event());
    tx.commit().await?;
    Ok(())
}

/// When each event was made, and how long after that it was handled.
#[derive(Debug, Clone)]
struct Watch {
    seen: Arc<Mutex<Vec<(i64, i64)>>>,
    expected: usize,
    interactive: bool,
    others: Arc<AtomicU64>,
    all: Arc<Notify>,
}

#[derive(Deserialize)]
struct Made {
    made_at: i64,
}

impl Transactional for Watch {
    async fn apply(&self, _: &mut UnitOfWork, events: &[Event]) -> Result<Vec<Obsolete>, Failure> {
        let now = outbox::clock::now().timestamp_micros();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        for event in events {
            if self.interactive && event.lane == Lane::Bulk {
                self.others.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            let made: Made = event.payload.read().map_err(Failure::retry)?;
            seen.push((made.made_at, now));
        }
        if seen.len() >= self.expected {
            self.all.notify_one();
        }
        Ok(Vec::new())
    }
}

impl Work {
    async fn play(self) -> Result<()> {
        let began = Instant::now();
        let outbox = Outbox::new(connect(&self.url).await?);
        let mut config = WorkerConfig::default();
        if let Some(nats) = &self.nats {
            config.transport = transport(nats).await?;
        }
        let mut worker = Worker::new(outbox, config);
        let watch = Watch {
            seen: Arc::default(),
            expected: usize::try_from(self.events)? * self.consumers,
            interactive: self.interactive,
            others: Arc::default(),
            all: Arc::default(),
        };
        for name in &CONSUMERS[..self.consumers] {
            worker.transactional(ConsumerSpec::new(name, &[TOPIC]), watch.clone());
        }
        let stop = CancellationToken::new();
        let working = tokio::spawn(worker.run(stop.clone()));
        watch.all.notified().await;
        let (others, lived) = (watch.others.load(Ordering::Relaxed), began.elapsed());
        stop.cancel();
        working.await??;
        let seen = watch.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = Seen {
            others,
            lived_us: u64::try_from(lived.as_micros())?,
            ..summary(&seen)
        };
        println!("{}", serde_json::to_string(&seen)?);
        Ok(())
    }
}

fn summary(seen: &[(i64, i64)]) -> Seen {
    let mut waits: Vec<u64> = seen
        .iter()
        .map(|(made, handled)| (handled - made).unsigned_abs())
        .collect();
    waits.sort_unstable();
    let first = seen.iter().map(|(made, _)| *made).min().unwrap_or(0);
    let last = seen.iter().map(|(_, handled)| *handled).max().unwrap_or(0);
    let at = |percent: usize| waits[(waits.len() * percent / 100).min(waits.len() - 1)];
    Seen {
        took_us: (last - first).unsigned_abs(),
        p50_us: at(50),
        p99_us: at(99),
        max_us: at(100),
        ..Seen::default()
    }
}
