//! A throttle: how often all processes together may call a provider.
//!
//! One row per provider keeps the theoretical arrival time of the next call (the generic cell rate
//! algorithm), by the database's clock. A process leases as many calls as wait there, and twice as
//! many each time as long as it uses them up, at most what the rate gives in a tenth of a second.
//! It makes them at the rate's pace, each at an instant that no other process was given. So the
//! rate holds whatever the number of processes, and a lease that is not used up costs a tenth of a
//! second of it at most.
//!
//! A provider that says "too many" pauses the row: nobody leases before the pause is over. What was
//! leased before is called for within two tenths of a second.
//!
//! Owns `outbox.throttle`.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use sqlx::PgPool;
use tokio::sync::{Mutex, OnceCell};

use crate::clock;

/// How much of the rate is leased at once, and how far ahead of now.
const AHEAD: Duration = Duration::from_millis(100);
const AHEAD_US: i64 = 100_000;
/// A pause is asked about again after this time: it may have been lifted.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// How often a provider may be called, by the generic cell rate algorithm (ITU-T I.371).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Throttle {
    /// The provider: consumers that name the same one share its rate.
    pub name: &'static str,
    /// How many calls are allowed per `period`.
    pub calls: u32,
    /// In which time.
    pub period: Duration,
    /// How many calls may be made at once after a silence. Those of a tenth of a second unless said
    /// otherwise: a process that was held up for a moment then catches up.
    pub burst: u32,
}

impl Throttle {
    /// So many calls a second, evenly.
    #[must_use]
    pub fn per_second(name: &'static str, calls: u32) -> Self {
        Self {
            name,
            calls,
            period: Duration::from_secs(1),
            burst: (calls / 10).max(1),
        }
    }

    fn interval_ns(&self) -> i64 {
        let interval = self.period.as_nanos() / u128::from(self.calls.max(1));
        i64::try_from(interval).unwrap_or(i64::MAX).max(1)
    }
}

/// The calls to a provider that this process may make. A clone shares them.
#[derive(Debug, Clone)]
pub struct Tokens(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    pool: PgPool,
    throttle: Throttle,
    registered: OnceCell<()>,
    waiting: AtomicI64,
    leased: Mutex<Lease>,
}

/// The newest lease, and what is left of it.
#[derive(Debug, Default)]
struct Lease {
    left: Option<Leased>,
    /// How many it was for, and when the last of them was due.
    used_up: Option<(i64, Instant)>,
}

/// What is left of a lease.
#[derive(Debug)]
struct Leased {
    next: Instant,
    interval: Duration,
    calls: i64,
    left: i64,
}

impl Leased {
    /// What was not called for in its time is void: saved up, it would be a burst.
    fn is_fresh(&self) -> bool {
        let late = Instant::now().saturating_duration_since(self.next);
        late < AHEAD
    }
}

/// Why no call may be made: not in time.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// The provider is paused, or those before take all that the rate gives until then.
    #[error("no call is allowed for another {0:?}")]
    NotInTime(Duration),
    /// The row could not be asked.
    #[error("the throttle could not be asked")]
    Database(#[from] sqlx::Error),
}

/// What asking for a lease came to.
enum Ask {
    Granted(Leased),
    Later(Duration),
}

impl Tokens {
    /// The tokens of a throttle; its row is written when it is asked first.
    #[must_use]
    pub fn new(pool: PgPool, throttle: Throttle) -> Self {
        Self(Arc::new(Shared {
            pool,
            throttle,
            registered: OnceCell::new(),
            waiting: AtomicI64::new(0),
            leased: Mutex::default(),
        }))
    }

    /// Waits until a call may be made, at most until `deadline`. No connection is held meanwhile.
    ///
    /// # Errors
    /// [`TakeError::NotInTime`] as soon as it is known; the database's.
    pub async fn take(&self, deadline: Instant) -> Result<(), TakeError> {
        let waiting = Waiting::in_line(&self.0.waiting);
        let mut leased = self.0.leased.lock().await;
        let mut lease = match leased.left.take() {
            Some(lease) if lease.is_fresh() => lease,
            _ => self.lease(deadline, leased.used_up).await?,
        };
        let (at, now) = (lease.next, Instant::now());
        if deadline < at {
            leased.left = Some(lease);
            return Err(TakeError::NotInTime(at.saturating_duration_since(now)));
        }
        lease.left -= 1;
        lease.next += lease.interval;
        leased.used_up = (lease.left == 0).then_some((lease.calls, at));
        leased.left = (lease.left > 0).then_some(lease);
        drop(leased);
        drop(waiting);
        clock::pause(at.saturating_duration_since(now)).await;
        Ok(())
    }

    /// The provider said "too many": no process calls it for this time.
    ///
    /// # Errors
    /// The database's.
    pub async fn pause(&self, time: Duration) -> Result<(), sqlx::Error> {
        *self.0.leased.lock().await = Lease::default();
        let shared = &self.0;
        sqlx::query!(
            "
            -- throttle: pause
            update outbox.throttle
            set paused_until = greatest(
                paused_until, clock_timestamp() + $2::bigint * interval '1 microsecond'
            )
            where name = $1
            ",
            shared.throttle.name,
            i64::try_from(time.as_micros()).unwrap_or(i64::MAX),
        )
        .execute(&shared.pool)
        .await?;
        Ok(())
    }

    async fn lease(
        &self,
        deadline: Instant,
        used_up: Option<(i64, Instant)>,
    ) -> Result<Leased, TakeError> {
        loop {
            let wait = match self.ask(used_up).await? {
                Ask::Granted(lease) => return Ok(lease),
                Ask::Later(wait) => wait,
            };
            if deadline < Instant::now() + wait {
                return Err(TakeError::NotInTime(wait));
            }
            clock::pause(wait.min(ASK_AGAIN)).await;
        }
    }

    async fn ask(&self, used_up: Option<(i64, Instant)>) -> Result<Ask, sqlx::Error> {
        let shared = &self.0;
        let register = || register(&shared.pool, &shared.throttle);
        shared.registered.get_or_try_init(register).await?;
        let ahead = (AHEAD_US * 1_000 / shared.throttle.interval_ns()).max(1);
        let lately = used_up.filter(|(_, last)| last.elapsed() < AHEAD);
        let twice = lately.map_or(1, |(calls, _)| calls * 2);
        let in_line = shared.waiting.load(Ordering::Relaxed);
        let wanted = in_line.max(twice).clamp(1, ahead);
        if let Some(lease) = lease(&shared.pool, shared.throttle.name, wanted).await? {
            return Ok(Ask::Granted(lease));
        }
        let wait = allowed_in(&shared.pool, shared.throttle.name).await?;
        Ok(Ask::Later(wait))
    }
}

/// One who waits for a call, even if it is dropped while it does.
struct Waiting<'a>(&'a AtomicI64);

impl<'a> Waiting<'a> {
    fn in_line(count: &'a AtomicI64) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Leases calls if the next is allowed soon. A crash of the server may take a lease back, which
/// lets a tenth of a second's calls through twice: no reason to wait for the disk ten times a
/// second.
async fn lease(pool: &PgPool, name: &str, wanted: i64) -> Result<Option<Leased>, sqlx::Error> {
    let asked = Instant::now();
    let row = sqlx::query!(
        r#"
        -- throttle: lease calls
        update outbox.throttle
        set tat = greatest(
                tat, paused_until,
                clock_timestamp() - (burst - 1) * interval_ns / 1000 * interval '1 microsecond'
            ) + $2::bigint * interval_ns / 1000 * interval '1 microsecond'
        where name = $1
            and greatest(tat, paused_until)
                <= clock_timestamp() + $3::bigint * interval '1 microsecond'
            and set_config('synchronous_commit', 'off', true) is not null
        returning interval_ns, (extract(epoch from
            tat - $2::bigint * interval_ns / 1000 * interval '1 microsecond' - clock_timestamp()
        ) * 1000000)::bigint as "wait_us!"
        "#,
        name,
        wanted,
        AHEAD_US,
    )
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let micros = |us: i64| Duration::from_micros(us.unsigned_abs());
    // Before now by the burst: those are due at once.
    let next = if row.wait_us < 0 {
        asked.checked_sub(micros(row.wait_us)).unwrap_or(asked)
    } else {
        Instant::now() + micros(row.wait_us)
    };
    Ok(Some(Leased {
        next,
        interval: Duration::from_nanos(row.interval_ns.unsigned_abs()),
        calls: wanted,
        left: wanted,
    }))
}

/// The newest code's rate holds for all.
async fn register(pool: &PgPool, throttle: &Throttle) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "
        -- throttle: register
        insert into outbox.throttle (name, interval_ns, burst)
        values ($1, $2, $3)
        on conflict (name) do update
        set interval_ns = excluded.interval_ns, burst = excluded.burst
        ",
        throttle.name,
        throttle.interval_ns(),
        i32::try_from(throttle.burst.max(1)).unwrap_or(i32::MAX),
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// When a lease may be had again.
async fn allowed_in(pool: &PgPool, name: &str) -> Result<Duration, sqlx::Error> {
    let wait_us = sqlx::query_scalar!(
        r#"
        -- throttle: when a call is allowed
        select (extract(epoch from greatest(
            tat - $2::bigint * interval '1 microsecond', paused_until
        ) - clock_timestamp()) * 1000000)::bigint as "wait_us!"
        from outbox.throttle
        where name = $1
        "#,
        name,
        AHEAD_US,
    )
    .fetch_optional(pool)
    .await?;
    let wait_us = wait_us.unwrap_or(0).max(0);
    Ok(Duration::from_micros(wait_us.unsigned_abs()))
}
