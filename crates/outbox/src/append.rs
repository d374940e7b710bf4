//! The unit of work: the only door through which an event enters the log.
//!
//! It buffers the events of a transaction and writes them in one statement, the last before COMMIT
//! (those planned for later in one before it).
//! So ids are drawn after every lock was taken (drawn earlier, the events of one key can come out
//! of order), sequence and index locks are held for microseconds, and a statement that failed and
//! was overlooked shows: sqlx's own `commit()` ignores that the server answered ROLLBACK.
//!
//! Owns `outbox.event`.

mod rows;
mod turns;

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool, PgTransaction};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use crate::batch::{self, Batch, Duties};
use crate::copy::Rows;
use crate::event::{Lane, NewEvent};
use crate::failpoint;
use crate::mutant::{self, Mutant};
use crate::timer::{self, NewTimer};
use crate::wake::Waker;

pub(crate) use self::rows::{Columns, Pending};

/// Who changes something, why, and on whose behalf: written on each event of the unit of work.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Who: a user, a process, a key's name. Never empty.
    pub actor: String,
    /// Why, in the actor's words.
    pub reason: Option<String>,
    /// The request, chosen by the client.
    pub request_id: Option<Uuid>,
    /// The event whose handling caused this.
    pub caused_by: Option<Uuid>,
    /// The queue in which the events wait.
    pub lane: Lane,
    /// W3C trace context; without one, that of the span in which the unit of work begins.
    pub traceparent: Option<String>,
    /// The batch of which the events are members, if they are: handlers of its members have it.
    pub batch: Option<Batch>,
}

impl Origin {
    /// An interactive change by `actor`.
    #[must_use]
    pub fn of(actor: impl Into<String>) -> Self {
        Self {
            actor: actor.into(),
            reason: None,
            request_id: None,
            caused_by: None,
            lane: Lane::Interactive,
            traceparent: None,
            batch: None,
        }
    }

    /// The same origin, in the bulk lane.
    #[must_use]
    pub fn bulk(mut self) -> Self {
        self.lane = Lane::Bulk;
        self
    }

    /// The same origin with a reason.
    #[must_use]
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// The same origin, for events that are members of a batch.
    #[must_use]
    pub fn within(mut self, batch: Batch) -> Self {
        self.batch = Some(batch);
        self
    }
}

/// A database with a log in it.
#[derive(Debug, Clone)]
pub struct Outbox {
    pool: PgPool,
    waker: Waker,
    /// Turns of the handlers of bulk events.
    bulk: Arc<Semaphore>,
}

/// READ COMMITTED whatever the database prefers: in an older snapshot a position is no fence. An
/// idle one ends after this long, so that a process that was frozen inside it holds nobody up.
const BEGIN: &str = "begin isolation level read committed; \
    set local idle_in_transaction_session_timeout = '15s'";
const BEGIN_WORKER: &str = "begin isolation level read committed; \
    set local idle_in_transaction_session_timeout = '5s'";
const BEGIN_OLD: &str = "begin isolation level repeatable read; select 1 as old";

impl Outbox {
    /// The log of the database behind `pool`, which carries the engine's schema
    /// ([`crate::migrate()`]).
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self {
            waker: Waker::new(pool.clone()),
            bulk: Arc::new(Semaphore::new(turns::of_bulk(&pool))),
            pool,
        }
    }

    /// The pool, for reading.
    #[must_use]
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    pub(crate) fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Opens a unit of work. The server ends it when it lies idle for 15 seconds.
    ///
    /// # Errors
    /// The pool's: no connection within its timeout, or the connection is lost.
    pub async fn begin(&self, origin: Origin) -> Result<UnitOfWork, sqlx::Error> {
        self.begin_with(rows::early::or(BEGIN), origin.traced(), None)
            .await
    }

    /// Opens a unit of work for a handler: an idle one ends after five seconds. That of a bulk
    /// event waits for its turn.
    pub(crate) async fn begin_worker(&self, origin: Origin) -> Result<UnitOfWork, sqlx::Error> {
        let turn = match origin.lane {
            Lane::Interactive => None,
            // An error would say that it is closed, which it never is.
            Lane::Bulk => Arc::clone(&self.bulk).acquire_owned().await.ok(),
        };
        let statement = mutant::either(Mutant::OldSnapshot, BEGIN_OLD, BEGIN_WORKER);
        self.begin_with(statement, origin, turn).await
    }

    async fn begin_with(
        &self,
        statement: &'static str,
        origin: Origin,
        turn: Option<OwnedSemaphorePermit>,
    ) -> Result<UnitOfWork, sqlx::Error> {
        static UNITS: AtomicU64 = AtomicU64::new(1);
        let tx = begin(&self.pool, statement).await?;
        let unit = UNITS.fetch_add(1, Ordering::Relaxed);
        Ok(UnitOfWork {
            tx: Some(tx),
            origin,
            pending: Vec::new(),
            duties: Duties::default(),
            timers: Vec::new(),
            waker: self.waker.clone(),
            unit,
            _turn: turn,
        })
    }
}

/// Opens a transaction on a task of its own, because a cancelled `begin` of sqlx 0.9 hands an open
/// transaction back to the pool: the next borrower's writes would be acknowledged and never
/// committed. Here the task goes on, and its result is dropped, which rolls back.
pub(crate) async fn begin(
    pool: &PgPool,
    statement: &'static str,
) -> Result<PgTransaction<'static>, sqlx::Error> {
    let pool = pool.clone();
    let begun = tokio::spawn(async move { pool.begin_with(statement).await }).await;
    begun.map_err(|err| sqlx::Error::Io(std::io::Error::other(err)))?
}

/// Proof that this unit of work holds the row lock of an aggregate, and so that no other
/// transaction can commit an event of its key in between.
#[derive(Debug, Clone, Copy)]
pub struct Locked {
    key: Uuid,
    unit: u64,
}

impl Locked {
    /// The aggregate's key.
    #[must_use]
    pub fn key(&self) -> Uuid {
        self.key
    }
}

/// A transaction together with the events it will announce.
///
/// It derefs to the connection: `sqlx::query!(…).execute(&mut **tx)`. Dropped, it rolls back.
#[derive(Debug)]
pub struct UnitOfWork {
    /// Away while rows are copied.
    tx: Option<PgTransaction<'static>>,
    origin: Origin,
    pending: Vec<Pending>,
    duties: Duties,
    timers: Vec<NewTimer>,
    waker: Waker,
    unit: u64,
    _turn: Option<OwnedSemaphorePermit>,
}

/// Why a unit of work did not commit. Nothing of it happened, unless the connection broke during
/// COMMIT itself: then the outcome is unknown and has to be looked up.
#[derive(Debug, thiserror::Error)]
#[error("the transaction did not commit")]
pub struct CommitError(#[from] pub sqlx::Error);

impl UnitOfWork {
    /// Who acts, and why.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// States that this unit of work holds the row lock of the aggregate `key`: it has just
    /// inserted the row or selected it FOR UPDATE. Call it beside that statement and nowhere else.
    #[must_use]
    pub fn locked(&self, key: Uuid) -> Locked {
        Locked {
            key,
            unit: self.unit,
        }
    }

    /// Announces a change of the aggregate that `locked` stands for. The event is written when the
    /// unit of work commits, as a member of the origin's batch if it has one.
    ///
    /// # Panics
    /// When the token is of another unit of work: its lock is gone.
    pub fn append(&mut self, locked: Locked, event: NewEvent) -> Uuid {
        if let Some(batch) = self.origin.batch {
            return self.append_to(batch, locked, event);
        }
        let (key, id) = (self.key_of(locked), event.event_id);
        self.pending.push(Pending::of(key, event));
        id
    }

    pub(crate) fn append_member(&mut self, batch: Uuid, locked: Locked, event: NewEvent) -> Uuid {
        let (key, id) = (self.key_of(locked), event.event_id);
        self.pending.push(Pending::member(batch, key, event));
        id
    }

    pub(crate) fn duties(&mut self) -> &mut Duties {
        &mut self.duties
    }

    /// Plans an event for later: it is appended under the same event id, key, lane and origin once
    /// the database's clock has reached `due_at`, at once when it has already. Nothing is planned
    /// unless the unit of work commits. The event's `at` is the instant at which it fired.
    ///
    /// It announces no change: a state change that must be announced wants [`Self::append`].
    ///
    /// # Panics
    /// When the token is of another unit of work: its lock is gone.
    pub fn append_at(&mut self, locked: Locked, due_at: DateTime<Utc>, event: NewEvent) -> Uuid {
        let (key, id) = (self.key_of(locked), event.event_id);
        self.timers.push(NewTimer { due_at, key, event });
        id
    }

    /// Cancels a planned event, with this unit of work: rolled back, it stays planned. True when it
    /// had not fired, and then it never will; false when it had, or when it is unknown.
    ///
    /// # Errors
    /// The database's.
    pub async fn cancel_timer(&mut self, event_id: Uuid) -> Result<bool, sqlx::Error> {
        let planned = self.timers.len();
        self.timers.retain(|timer| timer.event.event_id != event_id);
        if self.timers.len() < planned {
            return Ok(true);
        }
        timer::cancel(self, event_id).await
    }

    fn key_of(&self, locked: Locked) -> Uuid {
        assert_eq!(
            locked.unit, self.unit,
            "a lock token outlived its transaction"
        );
        locked.key
    }

    /// Writes the events and commits; afterwards wakes the relay.
    ///
    /// # Errors
    /// [`CommitError`]: also when a statement of this transaction failed earlier and the error was
    /// overlooked, or when a change was not announced.
    pub async fn commit(mut self) -> Result<u64, CommitError> {
        let is_planned_soon = timer::is_any_soon(&self.timers);
        let appended = self.flush().await?;
        failpoint!("unit.flushed")?;
        self.take_tx().commit().await?;
        failpoint!("unit.committed")?;
        if is_planned_soon {
            self.waker.tell_of_plans();
        }
        if appended > 0 {
            self.waker.wake_relays();
        }
        Ok(appended)
    }

    /// Undoes everything.
    ///
    /// # Errors
    /// When the connection is lost; the server rolls back all the same.
    pub async fn rollback(mut self) -> Result<(), sqlx::Error> {
        self.take_tx().rollback().await
    }

    /// Writes rows by COPY, on a task of its own: a COPY that is dropped half way leaves the
    /// connection of sqlx 0.9 an answer behind, and the pool hands it on. Here the task goes on,
    /// and its result is dropped, which rolls back.
    ///
    /// # Errors
    /// The database's; a value that has no binary form.
    ///
    /// # Panics
    /// When a row lacks values, or has too many.
    pub async fn copy(&mut self, rows: Rows) -> Result<u64, sqlx::Error> {
        rows.must_be_whole();
        if rows.is_empty() {
            return Ok(0);
        }
        let mut tx = self.take_tx();
        let copying = tokio::spawn(async move {
            let written = rows.send(&mut tx).await;
            (tx, written)
        });
        let ended = copying.await;
        let (tx, written) = ended.map_err(|err| sqlx::Error::Io(std::io::Error::other(err)))?;
        self.tx = Some(tx);
        written
    }

    fn take_tx(&mut self) -> PgTransaction<'static> {
        self.tx.take().expect(AWAY)
    }

    /// Even with nothing to write one statement is sent: it fails in an aborted transaction, where
    /// COMMIT would answer ROLLBACK and be taken for success.
    async fn flush(&mut self) -> Result<u64, sqlx::Error> {
        let timers = std::mem::take(&mut self.timers);
        if !timers.is_empty() {
            let origin = self.origin.clone();
            timer::plan(self, timers, &origin).await?;
        }
        let duties = std::mem::take(&mut self.duties);
        let lane = self.origin.lane;
        let (sealed, ended) = duties.perform(self, lane).await?;
        for batch in sealed {
            let seal = Pending::member(batch, batch, batch::first_seal());
            self.pending.push(seal);
        }
        if self.pending.is_empty() {
            sqlx::query!("-- outbox: prove that the transaction is alive\nselect 1 as alive")
                .fetch_one(&mut **self)
                .await?;
            return Ok(ended);
        }
        let events = std::mem::take(&mut self.pending);
        let origin = self.origin.clone();
        Ok(ended + rows::write(self, events, &origin).await?)
    }
}

/// What is wrong with a unit of work without its transaction.
const AWAY: &str = "a unit of work is dropped when a copy into it was cancelled";

impl Deref for UnitOfWork {
    type Target = PgConnection;
    fn deref(&self) -> &PgConnection {
        self.tx.as_ref().expect(AWAY)
    }
}

impl DerefMut for UnitOfWork {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.tx.as_mut().expect(AWAY)
    }
}
