//! Timers: events that are planned now and appended to the log when they are due.
//!
//! [`crate::UnitOfWork::append_at`] writes one in the transaction that decides it, so a plan exists
//! if and only if its decision was committed. When it is due by the database's clock, a relay moves
//! it: one statement deletes the timer and appends the event, under the same event id. So any
//! number of relays may race, and one that is killed leaves either the timer or the event.
//!
//! **Order per key.** An event of a key is appended under the lock of its aggregate, and firing
//! takes no such lock. Still (tick, id) of a key contradicts nobody. Firing decides and reads
//! nothing of the aggregate, so only what others saw can be contradicted. Whoever saw the fired
//! event draws its own ids after that commit, and they are higher; what was committed before the
//! firing statement began has lower ones. Only a transaction that overlaps the firing may stand on
//! either side of it, and neither of the two saw the other. The transaction id is assigned before
//! the event's id here, too (deleting the timer assigns it), which the floor of a tick leans on.
//!
//! A due time promises "not before". Timers of one key fire in the order of their due times, except
//! when two relays fire at once: each takes what the other has not locked. A handler reads the
//! state of now under lock, as for every event, and so does not depend on it.
//!
//! An event that fires announces no state change: `outbox.require_event` wants an event of the very
//! transaction.
//!
//! Owns `outbox.timer`. Writes `outbox.event` when a timer fires.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::append::{Columns, Origin, Pending};
use crate::clock;
use crate::event::NewEvent;
use crate::failpoint;

/// How many timers fire in one statement: few enough that a crowd due at midnight does not hold its
/// locks for long.
const AT_ONCE: i64 = 500;

/// Longer than a relay waits between two looks, and than clocks differ.
const SOON: TimeDelta = TimeDelta::minutes(1);

/// A timer that has not fired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// The id under which the event will be appended.
    pub event_id: Uuid,
    /// What will be announced.
    pub topic: String,
    /// Not before this instant.
    pub due_at: DateTime<Utc>,
}

/// What is planned for a key, the next first.
///
/// # Errors
/// The database's.
pub async fn pending_timers(pool: &PgPool, key: Uuid) -> Result<Vec<Planned>, sqlx::Error> {
    sqlx::query_as!(
        Planned,
        "
        -- timer: pending of a key
        select event_id, topic, due_at
        from outbox.timer
        where key = $1
        order by due_at, event_id
        ",
        key,
    )
    .fetch_all(pool)
    .await
}

/// An event that a unit of work will plan when it commits.
#[derive(Debug)]
pub(crate) struct NewTimer {
    pub(crate) due_at: DateTime<Utc>,
    pub(crate) key: Uuid,
    pub(crate) event: NewEvent,
}

/// Writes the timers of a unit of work.
pub(crate) async fn plan(
    tx: &mut PgConnection,
    timers: Vec<NewTimer>,
    origin: &Origin,
) -> Result<(), sqlx::Error> {
    let due_at: Vec<_> = timers.iter().map(|timer| timer.due_at).collect();
    let events = timers
        .into_iter()
        .map(|timer| Pending::of(timer.key, timer.event));
    let rows = Columns::of(events);
    sqlx::query!(
        r#"
        -- timer: plan
        insert into outbox.timer (
            due_at, event_id, topic, schema_version, key, part, payload,
            lane, actor, reason, request_id, caused_by, traceparent
        )
        select due_at, event_id, topic, schema_version, key, part, payload::json,
            $8, $9, $10, $11, $12, $13
        from unnest(
            $1::timestamptz[], $2::uuid[], $3::text[], $4::smallint[], $5::uuid[],
            $6::smallint[], $7::text[]
        )
        as new (due_at, event_id, topic, schema_version, key, part, payload)
        "#,
        &due_at,
        &rows.event_id,
        &rows.topic,
        &rows.schema_version,
        &rows.key,
        &rows.part,
        &rows.payload,
        origin.lane.code(),
        origin.actor,
        origin.reason,
        origin.request_id,
        origin.caused_by,
        origin.traceparent,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Removes a timer. False when there is none: it fired, or was cancelled before.
pub(crate) async fn cancel(tx: &mut PgConnection, event_id: Uuid) -> Result<bool, sqlx::Error> {
    let removed = sqlx::query!(
        "
        -- timer: cancel
        delete from outbox.timer where event_id = $1
        ",
        event_id,
    )
    .execute(tx)
    .await?;
    Ok(removed.rows_affected() == 1)
}

/// Whether one of these is for soon, as far as this process' clock can tell: then a relay is told,
/// and need not ask all the time what was planned.
pub(crate) fn is_any_soon(timers: &[NewTimer]) -> bool {
    let soon = clock::now() + SOON;
    timers.iter().any(|timer| timer.due_at < soon)
}

/// For how long no timer and no schedule will be due, at most `most`; nothing when one is.
pub(crate) async fn due_in(pool: &PgPool, most: Duration) -> Result<Duration, sqlx::Error> {
    let due_us = sqlx::query_scalar!(
        r#"
        -- timer: when the next is due
        select (extract(epoch from least(
            (select min(due_at) from outbox.timer),
            (select min(next_at) from outbox.schedule where not is_paused)
        ) - clock_timestamp()) * 1000000)::bigint
        "#
    )
    .fetch_one(pool)
    .await?;
    let due = due_us.map(|us| Duration::from_micros(us.max(0).unsigned_abs()));
    Ok(due.map_or(most, |due| due.min(most)))
}

/// Appends the events that are due, until none is left. Each statement is a transaction.
pub(crate) async fn fire_all(pool: &PgPool) -> Result<u64, sqlx::Error> {
    let mut all = 0;
    loop {
        let fired = fire(pool).await?;
        failpoint!("timer.fired")?;
        all += fired;
        if fired < AT_ONCE.unsigned_abs() {
            return Ok(all);
        }
    }
}

/// `statement_timestamp()`, not `clock_timestamp()`: a volatile bound is no condition for an index,
/// and every look would read all that is planned.
async fn fire(pool: &PgPool) -> Result<u64, sqlx::Error> {
    let fired = sqlx::query!(
        "
        -- timer: fire due ones
        with due as (
            select event_id from outbox.timer
            where due_at <= statement_timestamp()
            order by due_at
            limit $1
            for update skip locked
        ),
        fired as (
            delete from outbox.timer
            using due
            where timer.event_id = due.event_id
            returning timer.event_id, due_at, topic, schema_version, key, part, lane, payload,
                actor, reason, request_id, caused_by, traceparent
        )
        insert into outbox.event (
            event_id, topic, schema_version, key, part, lane, payload,
            actor, reason, request_id, caused_by, traceparent
        )
        select event_id, topic, schema_version, key, part, lane, payload,
            actor, reason, request_id, caused_by, traceparent
        from fired
        order by due_at, event_id
        ",
        AT_ONCE,
    )
    .execute(pool)
    .await?;
    Ok(fired.rows_affected())
}
