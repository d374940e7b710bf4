//! The relay: publishes what was committed, by cutting ticks, and appends what was planned for now.
//!
//! Any number may run. A tick's number is its primary key and so the compare-and-swap: of two
//! relays that cut the same tick one wins, and the other drops what it saw. Timers fire in a loop
//! of their own, so that trouble with one of the two does not stop the other.
//!
//! Owns `outbox.tick`. Only the relay writes it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use crate::append::Outbox;
use crate::failpoint;
use crate::member::{self, BEATS_WITHIN, HEARTBEAT, RELAY};
use crate::metrics;
use crate::restore::refuse_foreign_log;
use crate::retention;
use crate::schedule;
use crate::supervise::{RunError, SILENCE, StepLimit, Watch, answered, pause, supervised};
use crate::tick;
use crate::timer;
use crate::trouble::is_lock_timeout;
use crate::unique;
use crate::wake::{Ear, Listener};

/// While events arrive, a lost wake-up costs this much.
const POLL_ACTIVE: Duration = Duration::from_millis(10);
/// Under load a tick is not cut sooner than that after the one before: each costs relay and workers
/// a few round trips, whatever it holds. A tick after a pause is cut at once.
const BETWEEN: Duration = Duration::from_millis(8);
/// When nothing was published lately.
const POLL_IDLE: Duration = Duration::from_millis(500);
/// How many empty looks make a relay idle.
const ACTIVE_LOOKS: u32 = 100;
/// What is due later than that is asked for again: it may have been cancelled, and who planned
/// something due before it may not have been heard.
const TIMERS: Duration = Duration::from_secs(1);
/// How often partitions are looked after: twenty million ids last longer.
const PARTITIONS: Duration = Duration::from_secs(60);
/// How often it is looked whether windows of unique events are over.
const PRUNE: Duration = Duration::from_secs(30);
const AFTER_ERROR: Duration = Duration::from_secs(1);

/// What a step of the relay came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Nothing new was committed.
    Nothing,
    /// Another relay cut this tick.
    Lost,
    /// A tick was cut with so many events.
    Tick(i64),
}

/// Publishes committed events.
#[derive(Debug, Clone)]
pub struct Relay {
    outbox: Outbox,
    host: IpAddr,
    /// The log's last id when it was last looked at.
    sequence: Arc<AtomicI64>,
}

impl Relay {
    /// A relay of this log, listening for wake-ups on the loopback interface.
    #[must_use]
    pub fn new(outbox: Outbox) -> Self {
        Self {
            outbox,
            host: Ipv4Addr::LOCALHOST.into(),
            sequence: Arc::default(),
        }
    }

    /// Listens for wake-ups on another address of this host, one that the programs on other hosts
    /// can reach: it is written down for them.
    #[must_use]
    pub fn heard_at(self, host: IpAddr) -> Self {
        Self { host, ..self }
    }

    /// One step: cuts a tick if anything new was committed.
    ///
    /// # Errors
    /// The database's; nothing was published then, and a later step will.
    pub async fn cut(&self) -> Result<Cut, sqlx::Error> {
        let sequence = match self.sequence.load(Ordering::Relaxed) {
            // The first look: an unknown one would leave the floor of the next tick where it was.
            0 => tick::drawn(self.outbox.pool()).await?,
            known => known,
        };
        failpoint!("relay.before_cut")?;
        let looked = tick::cut(self.outbox.pool(), sequence).await?;
        failpoint!("relay.cut")?;
        self.sequence.store(looked.sequence, Ordering::Relaxed);
        Ok(match looked.cut {
            Some(events) => {
                metrics::cut(events);
                self.outbox.waker().wake_workers();
                Cut::Tick(events)
            }
            None if looked.events > 0 => Cut::Lost,
            None => Cut::Nothing,
        })
    }

    /// Publishes what is committed by now, without staying: for a program that ends, or that knows
    /// that a part of its work ends here. Answers how many events that were.
    ///
    /// # Errors
    /// When the log is another cluster's, or the database's.
    pub async fn catch_up(&self) -> Result<i64, RunError> {
        refuse_foreign_log(self.outbox.pool()).await?;
        let mut events = 0;
        loop {
            match self.cut().await? {
                Cut::Tick(cut) => events += cut,
                Cut::Lost => {}
                Cut::Nothing => return Ok(events),
            }
        }
    }

    /// Appends the events whose time has come, planned ones and recurring ones, and says how many.
    ///
    /// # Errors
    /// The database's; what did not fire then fires at the next look.
    pub async fn fire_due(&self) -> Result<u64, sqlx::Error> {
        let pool = self.outbox.pool();
        let fired = timer::fire_all(pool).await? + schedule::fire_all(pool).await?;
        if fired > 0 {
            self.outbox.waker().wake_relays();
        }
        Ok(fired)
    }

    /// Cuts ticks and fires timers until `shutdown`, woken by datagrams and polling as the net.
    ///
    /// # Errors
    /// When the log is another cluster's or no socket can be opened for wake-ups. Other trouble
    /// with the database is waited out.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), RunError> {
        let watch = Watch::begin(self.outbox.pool(), &shutdown).await?;
        let shutdown = watch.stop();
        let ear = Ear::listen(self.host).await?;
        let member = crate::ids::new();
        let silence = CancellationToken::new();
        let beats = beat(self.outbox.clone(), member, ear.address(), silence.clone());
        let beating = AbortOnDropHandle::new(tokio::spawn(beats));
        let mut loops = JoinSet::new();
        let (relay, stop, listener) = (self.clone(), watch.clone(), ear.listener());
        loops.spawn(supervised("relay", shutdown.clone(), move || {
            relay.clone().keep_cutting(listener.clone(), stop.clone())
        }));
        let (relay, stop, plans) = (self.clone(), shutdown.clone(), ear.plans());
        loops.spawn(supervised("relay", shutdown.clone(), move || {
            relay.clone().keep_firing(plans.clone(), stop.clone())
        }));
        loops.spawn(watch.clone().keep_looking());
        let (relay, stop) = (self.clone(), watch.stop());
        loops.spawn(supervised("relay", watch.stop(), move || {
            relay.clone().keep_partitions(stop.clone())
        }));
        while loops.join_next().await.is_some() {}
        silence.cancel();
        drop(beating.await);
        let leaving = member::leave(self.outbox.pool(), member);
        if let Err(error) = answered(BEATS_WITHIN, leaving).await {
            tracing::warn!(%error, "The relay left without saying so; its heartbeat runs out");
        }
        watch.end()
    }

    async fn keep_cutting(self, mut listener: Listener, watch: Watch) {
        let shutdown = watch.stop();
        let mut quiet = 0;
        let mut limit = StepLimit::of(SILENCE);
        let mut is_known = true;
        while !shutdown.is_cancelled() {
            if !is_known && !watch.look().await {
                pause(&shutdown, AFTER_ERROR).await;
                continue;
            }
            is_known = true;
            let began = Instant::now();
            let poll = match limit.on(&shutdown, self.cut()).await {
                Ok(Cut::Tick(_) | Cut::Lost) => {
                    quiet = 0;
                    pause(&shutdown, BETWEEN.saturating_sub(began.elapsed())).await;
                    Duration::ZERO
                }
                Ok(Cut::Nothing) => {
                    quiet += 1;
                    if quiet < ACTIVE_LOOKS {
                        POLL_ACTIVE
                    } else {
                        POLL_IDLE
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "The relay could not cut a tick; trying again");
                    is_known = false;
                    AFTER_ERROR
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = listener.wait(poll) => {}
            }
        }
    }

    /// A relay that cannot make partitions stalls nobody: the default one takes the events.
    async fn keep_partitions(self, shutdown: CancellationToken) {
        // History is indexed by a statement for each partition.
        let mut limit = StepLimit::of(10 * SILENCE);
        while !shutdown.is_cancelled() {
            let making = retention::make_ahead(self.outbox.pool());
            match limit.on(&shutdown, making).await {
                Ok(made) if made.is_empty() => {}
                Ok(made) => tracing::info!("Made {} ahead", made.join(", ")),
                // It waits for nobody, and there is time: partitions are made days ahead.
                Err(error) if is_lock_timeout(&error) => {
                    tracing::info!("No partition was made ahead beside others' work; trying again");
                }
                Err(error) => {
                    tracing::warn!(%error, "No partition was made ahead; trying again");
                }
            }
            let indexing = retention::index_history(self.outbox.pool());
            match limit.on(&shutdown, indexing).await {
                Ok(indexed) if indexed.is_empty() => {}
                Ok(indexed) => tracing::info!("Indexed {} by key", indexed.join(", ")),
                Err(error) => tracing::warn!(%error, "History is not indexed; trying again"),
            }
            pause(&shutdown, PARTITIONS).await;
        }
    }

    /// Fires what is due, and says for how long nothing will be.
    async fn fire_next(&self) -> Result<Duration, sqlx::Error> {
        let wait = timer::due_in(self.outbox.pool(), TIMERS).await?;
        if wait.is_zero() && self.fire_due().await? == 0 {
            // Another relay has it in hand.
            return Ok(POLL_ACTIVE);
        }
        Ok(wait)
    }

    /// Not woken by appends, only by plans for soon: a busy log would ask at every commit.
    async fn keep_firing(self, mut plans: Listener, shutdown: CancellationToken) {
        let mut pruned: Option<Instant> = None;
        let mut limit = StepLimit::of(SILENCE);
        while !shutdown.is_cancelled() {
            if pruned.is_none_or(|pruned| pruned.elapsed() > PRUNE) {
                pruned = Some(Instant::now());
                let pruning = unique::prune(self.outbox.pool());
                if let Err(error) = limit.on(&shutdown, pruning).await {
                    tracing::debug!(%error, "Windows that are over stay until the next look");
                }
            }
            let began = Instant::now();
            let wait = match limit.on(&shutdown, self.fire_next()).await {
                Ok(wait) => wait,
                Err(error) => {
                    tracing::warn!(%error, "The relay could not fire timers; trying again");
                    AFTER_ERROR
                }
            };
            tokio::select! {
                () = pause(&shutdown, wait) => {}
                () = plans.woken() => {
                    pause(&shutdown, BETWEEN.saturating_sub(began.elapsed())).await;
                }
            }
        }
    }
}

async fn beat(
    outbox: Outbox,
    member: Uuid,
    address: std::net::SocketAddr,
    silence: CancellationToken,
) {
    let mut every = tokio::time::interval(HEARTBEAT);
    while silence.run_until_cancelled(every.tick()).await.is_some() {
        let roles = [RELAY.into()];
        let beat = member::beat(outbox.pool(), member, &roles, address);
        if let Err(error) = answered(BEATS_WITHIN, beat).await {
            tracing::debug!(%error, "A heartbeat of the relay was not written");
        }
    }
}
