//! Settling: relay and workers run until the log is drained.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use billing_workers::WorkersConfig;
use outbox::{BacklogWatch, Outbox, Relay, Rest, RunError, Worker, WorkerConfig};
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

/// A delivery that is due within that time is waited for.
const SOON: Duration = Duration::from_secs(30);
/// Where nothing was handled for so long, what is tried again is not waited for.
const STUCK: Duration = Duration::from_secs(35);

/// How long the database may be away while events are handled: a server that was killed, or that
/// restarts, is back sooner, and relay and workers wait for it.
const AWAY_MAX: Duration = Duration::from_secs(120);
/// A look that takes longer hears nothing from the database.
const LOOKS_WITHIN: Duration = Duration::from_secs(60);
const LOOK_AWAY: Duration = Duration::from_secs(1);

/// The consumers that a close waits for.
pub(crate) fn names() -> Vec<&'static str> {
    let specs = billing_workers::settling();
    specs.iter().map(|spec| spec.name).collect()
}

/// Registers the consumers, whoever will run them: what is appended from now on waits for them.
pub(crate) async fn register(pool: &PgPool) -> Result<(), sqlx::Error> {
    for spec in billing_workers::settling() {
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
    let mut draining = Draining {
        outbox,
        config,
        own: None,
        meter: Meter::start(outbox.pool()).await?,
        backlogs: BacklogWatch::new(outbox.pool().clone()),
        seen: None,
        since: Instant::now(),
    };
    let mut away: Option<Instant> = None;
    let rest = loop {
        let look = tokio::time::timeout(LOOKS_WITHIN, draining.look(stage)).await;
        match look.unwrap_or_else(|_| Err(sqlx::Error::Io(ErrorKind::TimedOut.into()).into())) {
            Ok(Look::Drained(rest)) => break rest,
            Ok(Look::Again(pause)) => {
                away = None;
                outbox::clock::pause(pause).await;
            }
            Err(error) if is_away(&error) && away.is_none_or(|at| at.elapsed() < AWAY_MAX) => {
                if away.is_none() {
                    tracing::warn!("The database is away; waiting for it: {error:#}");
                }
                away.get_or_insert_with(Instant::now);
                outbox::clock::pause(LOOK_AWAY).await;
            }
            Err(error) => return Err(error),
        }
    };
    if let Some(own) = draining.own {
        own.stop().await?;
    }
    Ok(rest)
}

/// Whether the connection was lost, or none can be had.
fn is_away(error: &anyhow::Error) -> bool {
    let cause = error.chain().find_map(|cause| cause.downcast_ref());
    match cause {
        Some(sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::Protocol(_)) => true,
        // The server stops, crashed, or does not take connections yet.
        Some(sqlx::Error::Database(error)) => {
            error.code().is_some_and(|code| code.starts_with("57P"))
        }
        _ => false,
    }
}

/// What a look came to.
enum Look {
    Drained(Rest),
    Again(Duration),
}

/// Events on their way through the consumers, and who looks how far they have come.
struct Draining<'a> {
    outbox: &'a Outbox,
    config: &'a WorkersConfig,
    /// Relay and workers of this process, unless others do it.
    own: Option<Own>,
    meter: Meter,
    backlogs: BacklogWatch,
    /// How many events were handled at the last look, and since when so many.
    seen: Option<i64>,
    since: Instant,
}

impl Draining<'_> {
    async fn look(&mut self, stage: &Stage) -> Result<Look> {
        let pool = self.outbox.pool();
        if self.own.is_none() && !others_do_it(pool).await? {
            self.own = Some(Own::start(self.outbox, self.config)?);
        }
        if let Some(own) = &mut self.own
            && let Err(error) = own.must_run().await
        {
            own.stop.cancel();
            self.own = None;
            return Err(error);
        }
        let done = self.meter.show(stage).await?;
        let before = self.seen.replace(done);
        if before != Some(done) {
            self.since = Instant::now();
        }
        // What is tried in vain, such as an event of a later version, is due again and again.
        let is_stuck = self.since.elapsed() > STUCK;
        let soon = if is_stuck { Duration::ZERO } else { SOON };
        self.backlogs.wait_for(soon);
        if before.is_some_and(|before| before + MANY < done) {
            return Ok(Look::Again(LOOK_BUSY));
        }
        let rest = self.backlogs.rest(&names()).await?;
        Ok(rest.map_or(Look::Again(LOOK_QUIET), Look::Drained))
    }
}

async fn others_do_it(pool: &PgPool) -> Result<bool> {
    let (live, relay) = outbox::live_consumers(pool).await?;
    Ok(relay
        && names()
            .iter()
            .all(|name| live.iter().any(|one| one == name)))
}

/// What is left, once nothing is due.
pub(crate) async fn drained(pool: &PgPool) -> Result<Option<Rest>, sqlx::Error> {
    let mut backlogs = BacklogWatch::new(pool.clone());
    backlogs.rest(&names()).await
}

/// Progress of the consumers, from their positions.
struct Meter {
    pool: PgPool,
    before: i64,
    total: i64,
    estimated: Instant,
    pause: Duration,
    estimate: Option<JoinHandle<Result<Estimate, sqlx::Error>>>,
}

/// What is left, and who does nothing about it.
struct Estimate {
    unread: i64,
    paused: Vec<String>,
    took: Duration,
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
        self.estimate(stage, done).await?;
        let count = |n: i64| u64::try_from(n).unwrap_or(0);
        stage.at(count(done), count(self.total.max(done)));
        Ok(done)
    }

    /// On a task of its own: the progress goes on while the log is read.
    async fn estimate(&mut self, stage: &Stage, done: i64) -> Result<()> {
        if self.estimate.as_ref().is_some_and(JoinHandle::is_finished)
            && let Some(estimate) = self.estimate.take()
        {
            let estimate = estimate.await??;
            self.total = done + estimate.unread;
            self.pause = ESTIMATE_EVERY.max(estimate.took * ESTIMATE_SHARE);
            self.estimated = Instant::now();
            stage.waits_for(waits_for(&estimate.paused));
        }
        if self.estimate.is_none() && self.estimated.elapsed() >= self.pause {
            self.estimate = Some(tokio::spawn(estimate(self.pool.clone())));
        }
        Ok(())
    }
}

async fn estimate(pool: PgPool) -> Result<Estimate, sqlx::Error> {
    let began = Instant::now();
    let unread = outbox::unread_estimate(&pool).await?;
    let paused = outbox::operation::paused(&pool).await?.into_iter();
    Ok(Estimate {
        unread,
        paused: paused.map(|(name, _)| name).collect(),
        took: began.elapsed(),
    })
}

/// No rate tells when somebody lets a paused consumer go on.
fn waits_for(paused: &[String]) -> Option<String> {
    let first = paused.first()?;
    let verb = if paused.len() == 1 { "is" } else { "are" };
    let names = paused.join(" and ");
    Some(format!(
        "{names} {verb} paused: `outbox-relay resume {first}`"
    ))
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
        let only: Vec<String> = names().into_iter().map(str::to_owned).collect();
        billing_workers::add_all(&mut worker, config, Some(&only))?;
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
