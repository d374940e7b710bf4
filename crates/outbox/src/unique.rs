//! Unique events: of all that are appended for a key within a window, the first.
//!
//! [`UnitOfWork::append_unique`] asks for a row of its own; who finds it there is told whose it is.
//! It is decided at once, so that the caller can act on it, and holds if the unit of work commits:
//! a racing one waits for that, and is the first if it does not. The window is counted by the
//! database's clock. Events that are not appended this way cost nothing.
//!
//! Owns `outbox.unique_event`; relays remove what is over.

use std::time::Duration;

use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::append::{Locked, UnitOfWork};
use crate::event::NewEvent;

/// How many rows are removed at once: few enough that nobody waits for them.
const PRUNED: i64 = 5_000;

/// Among which events one is unique.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unique {
    /// What is meant to happen once, such as a topic. Keys of different scopes do not meet.
    pub scope: String,
    /// Once per what: the aggregate's key, or any other.
    pub key: Uuid,
    /// For how long after the first.
    pub window: Duration,
}

/// What came of a unique event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uniquely {
    /// It is the first, and is appended under this id when the unit of work commits.
    Applied(Uuid),
    /// This one was there before; nothing is appended.
    AlreadyThere(Uuid),
}

impl UnitOfWork {
    /// [`UnitOfWork::append`], unless an event of the same scope and key was appended within the
    /// window.
    ///
    /// # Errors
    /// The database's.
    ///
    /// # Panics
    /// When the token is of another unit of work: its lock is gone.
    pub async fn append_unique(
        &mut self,
        locked: Locked,
        event: NewEvent,
        unique: &Unique,
    ) -> Result<Uniquely, sqlx::Error> {
        Ok(match claim(self, unique, event.event_id).await? {
            None => Uniquely::Applied(self.append(locked, event)),
            Some(first) => Uniquely::AlreadyThere(first),
        })
    }
}

/// The row is ours, or tells whose it is. A racing one's row is waited for; should it be over by
/// the time it is read, it may be taken after all.
async fn claim(
    tx: &mut PgConnection,
    unique: &Unique,
    event_id: Uuid,
) -> Result<Option<Uuid>, sqlx::Error> {
    loop {
        if take(tx, unique, event_id).await? {
            return Ok(None);
        }
        if let Some(first) = first(tx, unique).await? {
            return Ok(Some(first));
        }
    }
}

async fn take(tx: &mut PgConnection, unique: &Unique, event_id: Uuid) -> Result<bool, sqlx::Error> {
    let window_us = i64::try_from(unique.window.as_micros()).unwrap_or(i64::MAX);
    let taken = sqlx::query!(
        "
        -- unique: take
        insert into outbox.unique_event as known (scope, key, event_id, until)
        values ($1, $2, $3, clock_timestamp() + $4::bigint * interval '1 microsecond')
        on conflict (scope, key) do update
        set event_id = excluded.event_id, until = excluded.until
        where known.until <= clock_timestamp()
        ",
        unique.scope,
        unique.key,
        event_id,
        window_us,
    )
    .execute(tx)
    .await?;
    Ok(taken.rows_affected() == 1)
}

async fn first(tx: &mut PgConnection, unique: &Unique) -> Result<Option<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        "
        -- unique: whose it is
        select event_id from outbox.unique_event
        where scope = $1 and key = $2 and until > clock_timestamp()
        ",
        unique.scope,
        unique.key,
    )
    .fetch_optional(tx)
    .await
}

/// Removes rows whose window is over. One that is being taken anew is left alone.
pub(crate) async fn prune(pool: &PgPool) -> Result<u64, sqlx::Error> {
    let pruned = sqlx::query!(
        "
        -- unique: prune
        delete from outbox.unique_event
        where (scope, key) in (
            select scope, key from outbox.unique_event
            where until <= statement_timestamp()
            order by until
            limit $1
            for update skip locked
        )
        ",
        PRUNED,
    )
    .execute(pool)
    .await?;
    Ok(pruned.rows_affected())
}
