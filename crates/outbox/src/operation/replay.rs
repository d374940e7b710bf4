//! Replaying a consumer: it reads a part of the log once more.
//!
//! A replay starts a new generation of positions. In one transaction the old one is closed, shard
//! by shard, by the very row that its owner would have to write next: who is in the middle of a
//! batch loses it, as to a rival. Beyond that row stands one with the highest number there is, so
//! that nobody can go on in the old generation, however long he was frozen.

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::{PgConnection, PgPool};

use super::generation::{claimed_for, close};
use super::{By, OperationError, known};
use crate::append;
use crate::event::LogPoint;
use crate::failpoint;
use crate::mutant::{self, Mutant};

/// From where to read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// This tick and what comes after it.
    Tick(i64),
    /// The event at this point and what comes after it: of its tick, only from there on.
    Point(LogPoint),
    /// What was appended at this instant or later by the database's clock; a few earlier events may
    /// be among it, since a tick is read whole.
    Since(DateTime<Utc>),
}

/// Makes a consumer read the log again from a place, in all processes, within a second. Deliveries
/// in trouble and dead letters stay what they are.
///
/// Answers the point after which it reads on.
///
/// # Errors
/// [`OperationError`] says why not.
pub async fn replay(
    pool: &PgPool,
    name: &str,
    start: Start,
    by: &By,
) -> Result<LogPoint, OperationError> {
    by.refuse_unsigned()?;
    let consumer = known(pool, name).await?;
    let mut tx = append::begin(pool, "begin isolation level read committed").await?;
    let row = sqlx::query!(
        "
        -- operation: the consumer, locked
        select generation, replayable from outbox.consumer where consumer = $1
        for no key update
        ",
        consumer,
    )
    .fetch_one(&mut *tx)
    .await?;
    if !row.replayable {
        let name = name.to_owned();
        return Err(OperationError::NotReplayable { name });
    }
    let after = point_before(&mut tx, Some(start)).await?;
    if !mutant::is(Mutant::GenerationLeftOpen) {
        close(&mut tx, consumer, row.generation).await?;
    }
    if let Some(seconds) = claimed_for(&mut tx, consumer, row.generation).await? {
        let name = name.to_owned();
        return Err(OperationError::Busy { name, seconds });
    }
    open(&mut tx, consumer, after).await?;
    failpoint!("replay.opened")?;
    note(&mut tx, consumer, after, start, by).await?;
    tx.commit().await?;
    Ok(after)
}

/// The point of the log just before a start; its end when there is none.
pub(crate) async fn point_before(
    conn: &mut PgConnection,
    start: Option<Start>,
) -> Result<LogPoint, OperationError> {
    let tick = match start {
        Some(start) => Some(tick_before(conn, start).await?),
        None => None,
    };
    if let Some(Start::Point(LogPoint { tick, id })) = start {
        return Ok(LogPoint { tick, id: id - 1 });
    }
    let row = sqlx::query!(
        "
        -- operation: the point after a tick
        select n, max_id from outbox.tick
        where n = coalesce($1, (select max(n) from outbox.tick))
        ",
        tick,
    )
    .fetch_one(conn)
    .await?;
    Ok(LogPoint {
        tick: row.n,
        id: row.max_id,
    })
}

async fn tick_before(tx: &mut PgConnection, start: Start) -> Result<i64, OperationError> {
    let (tick, instant) = match start {
        Start::Tick(tick) | Start::Point(LogPoint { tick, .. }) => (Some(tick), None),
        Start::Since(instant) => (None, Some(instant)),
    };
    let row = sqlx::query!(
        r#"
        -- operation: the tick before a start
        select min(n) as "first!", max(n) as "last!", clock_timestamp() as "now!",
            coalesce(max(n) filter (where n < $1 or at < $2), min(n)) as "before!"
        from outbox.tick
        "#,
        tick,
        instant,
    )
    .fetch_one(tx)
    .await?;
    if let Some(since) = instant.filter(|since| *since > row.now) {
        return Err(OperationError::InTheFuture {
            since,
            now: row.now,
        });
    }
    let (first, last) = (row.first + 1, row.last);
    // The next tick may be waited for; it holds no event yet that could be named.
    let end = match start {
        Start::Point(_) => last,
        Start::Tick(_) | Start::Since(_) => last + 1,
    };
    match tick {
        Some(asked) if !(first..=end).contains(&asked) => {
            Err(OperationError::OutsideTheLog { first, last, asked })
        }
        _ => Ok(row.before),
    }
}

/// Starts the next generation after a point.
async fn open(tx: &mut PgConnection, consumer: i16, after: LogPoint) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "
        -- operation: open a generation
        with opened as (
            update outbox.consumer
            set generation = generation + 1, since_tick = $2
            where consumer = $1
            returning consumer, generation, shards
        )
        insert into outbox.position (consumer, generation, lane, shard, n, tick, id, passed)
        select consumer, generation, lane, shard, 0, $2, $3, 0
        from opened
        cross join (values (0), (1)) as lanes (lane)
        cross join generate_series(0, shards - 1) as shard
        ",
        consumer,
        after.tick,
        after.id,
    )
    .execute(tx)
    .await?;
    Ok(())
}

async fn note(
    tx: &mut PgConnection,
    consumer: i16,
    after: LogPoint,
    start: Start,
    by: &By,
) -> Result<(), sqlx::Error> {
    let place = after.tick;
    let told = match start {
        Start::Tick(tick) => json!({"tick": tick, "after": place}),
        Start::Point(LogPoint { tick, id }) => json!({"tick": tick, "id": id, "after": place}),
        Start::Since(instant) => json!({"since": instant, "after": place}),
    };
    sqlx::query!(
        "
        -- operation: note a replay
        insert into outbox.operation (verb, consumer, actor, reason, told, changed)
        values ('replay', $1, $2, $3, $4, 1)
        ",
        consumer,
        by.actor,
        by.reason,
        told,
    )
    .execute(tx)
    .await?;
    Ok(())
}
