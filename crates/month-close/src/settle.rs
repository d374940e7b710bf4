//! Settling: relay and workers run until the log is drained.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use billing_workers::WorkersConfig;
use outbox::{BacklogWatch, Outbox, Relay, RunError, Worker, WorkerConfig};
use sqlx::PgPool;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::progress::Stage;

/// How soon to look again where nothing moved: perhaps that was the end.
const LOOK_QUIET: Duration = Duration::from_millis(25);
/// How soon to look again where much moved: each look costs a thousand look-ups.
const LOOK_BUSY: Duration = Duration::from_millis(200);
/// Events between two looks that are too many for the end. It is not none: others work too, and
/// what they do is handled meanwhile.
const MANY: i64 = 200;
/// How often the estimate of what is left is made again, at most.
const ESTIMATE_EVERY: Duration = Duration::from_secs(5);
/// It reads the unread log: of a million accounts that takes seconds, so it has this share of the
/// time and no more.
const ESTIMATE_SHARE: u32 = 20;

/// What is left when no delivery is due any more.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rest {
    /// Deliveries that wait for a later attempt.
    pub(crate) waiting: i64,
    /// Dead letters.
    pub(crate) dead: i64,
}

/// Registers the consumers, whoever will run them: what is appended from now on waits for them.
pub(crate) async fn register(pool: &PgPool) -> Result<(), sqlx::Error> {
    for spec in billing_workers::specs() {
        outbox::register(pool, &spec).await?;
    }
    Ok(())
}

/// Waits until every committed event is published and every consumer has handled it. Runs relay and
/// workers in this process, unless live ones do it already.
pub(crate) async fn until_drained(
    outbox: &Outbox,
    config: &WorkersConfig,
    stage: &Stage,
) -> Result<Rest> {
    let mut own = None;
    let mut meter = Meter::start(outbox.pool()).await?;
    let mut backlogs = BacklogWatch::new(outbox.pool().clone());
    let mut seen = None;
    let rest = loop {
        if own.is_none() && !others_do_it(outbox.pool()).await? {
            own = Some(Own::start(outbox, config)?);
        }
        if let Some(own) = &mut own {
            own.must_run().await?;
        }
        let done = meter.show(stage).await?;
        let is_busy = seen
            .replace(done)
            .is_some_and(|before| before + MANY < done);
        if !is_busy && let Some(rest) = rest_of(outbox.pool(), &mut backlogs).await? {
            break rest;
        }
        outbox::clock::pause(if is_busy { LOOK_BUSY } else { LOOK_QUIET }).await;
    };
    if let Some(own) = own {
        own.stop().await?;
    }
    Ok(rest)
}

async fn others_do_it(pool: &PgPool) -> Result<bool> {
    let (live, relay) = outbox::live_consumers(pool).await?;
    Ok(relay
        && billing_workers::names()
            .iter()
            .all(|name| live.iter().any(|one| one == name)))
}

/// What is left, once nothing is due.
pub(crate) async fn drained(pool: &PgPool) -> Result<Option<Rest>> {
    rest_of(pool, &mut BacklogWatch::new(pool.clone())).await
}

async fn rest_of(pool: &PgPool, backlogs: &mut BacklogWatch) -> Result<Option<Rest>> {
    if outbox::pending(pool).await? > 0 {
        return Ok(None);
    }
    let mut rest = Rest::default();
    for name in billing_workers::names() {
        let backlog = backlogs.look(name).await?;
        if backlog.behind || backlog.due > 0 {
            return Ok(None);
        }
        rest.waiting += backlog.waiting;
        rest.dead += backlog.dead;
    }
    Ok(Some(rest))
}

/// Progress of the consumers, from their positions.
struct Meter {
    pool: PgPool,
    before: i64,
    total: i64,
    estimated: Instant,
    pause: Duration,
    estimate: Option<JoinHandle<Result<(i64, Duration), sqlx::Error>>>,
}

impl Meter {
    async fn start(pool: &PgPool) -> Result<Self> {
        Ok(Self {
            pool: pool.clone(),
            before: outbox::handled(pool).await?,
            total: 0,
            estimated: Instant::now(),
            pause: Duration::ZERO,
            estimate: None,
        })
    }

    /// Shows how far it has come, and answers how many events were handled since the start.
    async fn show(&mut self, stage: &Stage) -> Result<i64> {
        let done = outbox::handled(&self.pool).await? - self.before;
        self.estimate(done).await?;
        let count = |n: i64| u64::try_from(n).unwrap_or(0);
        stage.at(count(done), count(self.total.max(done)));
        Ok(done)
    }

    /// On a task of its own: the progress goes on while the log is read.
    async fn estimate(&mut self, done: i64) -> Result<()> {
        if self.estimate.as_ref().is_some_and(JoinHandle::is_finished)
            && let Some(estimate) = self.estimate.take()
        {
            let (unread, took) = estimate.await??;
            self.total = done + unread;
            self.pause = ESTIMATE_EVERY.max(took * ESTIMATE_SHARE);
            self.estimated = Instant::now();
        }
        if self.estimate.is_none() && self.estimated.elapsed() >= self.pause {
            let pool = self.pool.clone();
            self.estimate = Some(tokio::spawn(async move {
                let began = Instant::now();
                let unread = outbox::unread_estimate(&pool).await?;
                Ok((unread, began.elapsed()))
            }));
        }
        Ok(())
    }
}

/// Relay and workers of this process.
struct Own {
    stop: CancellationToken,
    relay: JoinHandle<Result<(), RunError>>,
    worker: JoinHandle<Result<(), RunError>>,
}

impl Own {
    fn start(outbox: &Outbox, config: &WorkersConfig) -> Result<Self> {
        let stop = CancellationToken::new();
        let mut worker = Worker::new(outbox.clone(), WorkerConfig::default());
        billing_workers::add_all(&mut worker, config, None)?;
        Ok(Self {
            relay: tokio::spawn(Relay::new(outbox.clone()).run(stop.clone())),
            worker: tokio::spawn(worker.run(stop.clone())),
            stop,
        })
    }

    /// A relay or worker that ended by itself has an error to tell.
    async fn must_run(&mut self) -> Result<()> {
        if self.relay.is_finished() {
            (&mut self.relay)
                .await?
                .context("the relay could not start")?;
        }
        if self.worker.is_finished() {
            (&mut self.worker)
                .await?
                .context("the workers could not start")?;
        }
        Ok(())
    }

    async fn stop(self) -> Result<()> {
        self.stop.cancel();
        self.relay.await?.context("the relay failed")?;
        self.worker.await?.context("the workers failed")?;
        Ok(())
    }
}
