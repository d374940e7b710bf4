//! Resharding a consumer: its keys are divided into another number of shards.
//!
//! Processes that counted the shards differently would handle a key unfenced, so the number changes
//! with a generation, in one transaction: the old one is closed for good, and the new one begins
//! where the farthest of its shards stood. What the others had not handled up to there is parked
//! with the deliveries, which keep each key's order; nothing is handled twice.

use serde_json::json;
use sqlx::{PgConnection, PgPool};

use super::generation::{claimed_for, close};
use super::{By, OperationError, known};
use crate::append::{Origin, Outbox, UnitOfWork};
use crate::batch::SEALED;
use crate::delivery::{self, Parking};
use crate::event::{Event, Lane, LogPoint, PARTS};
use crate::mutant::{self, Mutant};
use crate::position::CLOSED;
use crate::transport::postgres;

/// How many events may lie between the first and the last of a consumer's shards: each that a shard
/// had not handled becomes a row, written while nobody works for the consumer.
const BETWEEN: usize = 10_000;
const PAGE: i64 = 1_000;

/// What a reshard came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resharded {
    /// Its shards before.
    pub from: i16,
    /// Its shards now.
    pub to: i16,
    /// How many events its slower shards had not handled yet: they are handled as deliveries.
    pub parked: i64,
}

/// Divides the keys of a consumer into another number of shards, in all processes, within a second.
/// Per key nothing is lost, repeated or overtaken.
///
/// # Errors
/// [`OperationError`] says why not.
pub async fn reshard(
    pool: &PgPool,
    name: &str,
    shards: i16,
    by: &By,
) -> Result<Resharded, OperationError> {
    let (mut tx, consumer, resharded) = begun(pool, name, shards, by).await?;
    note(&mut tx, consumer, resharded, by).await?;
    tx.commit().await.map_err(|error| error.0)?;
    Ok(resharded)
}

/// What [`reshard`] would come to now. Its workers wait while it is found out.
///
/// # Errors
/// As those of [`reshard`].
pub async fn try_reshard(
    pool: &PgPool,
    name: &str,
    shards: i16,
) -> Result<Resharded, OperationError> {
    let nobody = By {
        actor: "nobody".to_owned(),
        reason: "a dry run".to_owned(),
    };
    let (tx, _, resharded) = begun(pool, name, shards, &nobody).await?;
    tx.rollback().await?;
    Ok(resharded)
}

/// All but the note and the commit.
async fn begun(
    pool: &PgPool,
    name: &str,
    to: i16,
    by: &By,
) -> Result<(UnitOfWork, i16, Resharded), OperationError> {
    by.refuse_unsigned()?;
    if !(1..=PARTS).contains(&to) {
        return Err(OperationError::ShardsOutOfRange(to));
    }
    let consumer = known(pool, name).await?;
    let origin = Origin::of(by.actor.clone()).because(by.reason.clone());
    let mut tx = Outbox::new(pool.clone()).begin(origin).await?;
    let row = sqlx::query!(
        "
        -- operation: the consumer to be resharded, locked
        select generation, shards, topics from outbox.consumer where consumer = $1
        for no key update
        ",
        consumer,
    )
    .fetch_one(&mut *tx)
    .await?;
    let from = row.shards;
    if from == to {
        let name = name.to_owned();
        return Err(OperationError::SameShards { name, shards: to });
    }
    if mutant::is(Mutant::ShardsInPlace) {
        count_otherwise(&mut tx, consumer, to).await?;
        let parked = 0;
        return Ok((tx, consumer, Resharded { from, to, parked }));
    }
    let old = (consumer, row.generation);
    close(&mut tx, consumer, row.generation).await?;
    if let Some(seconds) = claimed_for(&mut tx, consumer, row.generation).await? {
        let name = name.to_owned();
        return Err(OperationError::Busy { name, seconds });
    }
    let mut topics = row.topics;
    topics.push(SEALED.to_owned());
    let (mut starts, mut parked) = (Vec::new(), 0);
    for lane in Lane::ALL {
        let behind = Behind::of(ends(&mut tx, old, lane).await?);
        let Some(late) = behind.read(&mut tx, lane, &topics).await? else {
            let (name, most) = (name.to_owned(), BETWEEN);
            return Err(OperationError::TooFarApart { name, most });
        };
        let late = park(&mut tx, consumer, late).await?;
        parked += i64::try_from(late.len()).unwrap_or(i64::MAX);
        starts.extend((0..to).map(|shard| Start {
            lane,
            shard,
            at: behind.end,
            passed: late.iter().filter(|part| *part % to == shard).count(),
        }));
    }
    open(&mut tx, consumer, to, &starts).await?;
    Ok((tx, consumer, Resharded { from, to, parked }))
}

/// Parks events, and passes the seals among them; answers the parts of those that were parked.
async fn park(
    tx: &mut UnitOfWork,
    consumer: i16,
    late: Vec<Event>,
) -> Result<Vec<i16>, sqlx::Error> {
    let mut parts = Vec::new();
    for event in late {
        if event.topic == SEALED {
            tx.duties().pass(&event);
        } else {
            delivery::park(tx, consumer, &event, &Parking::Behind).await?;
            parts.push(event.part);
        }
    }
    Ok(parts)
}

/// Where a shard of the new generation begins.
struct Start {
    lane: Lane,
    shard: i16,
    at: LogPoint,
    /// What was parked of it has been gone past.
    passed: usize,
}

/// Where the shards of a generation ended, in their order.
async fn ends(
    tx: &mut PgConnection,
    (consumer, generation): (i16, i16),
    lane: Lane,
) -> Result<Vec<LogPoint>, sqlx::Error> {
    sqlx::query_as!(
        LogPoint,
        "
        -- operation: where the shards of a generation ended
        select tick, id from outbox.position
        where consumer = $1 and generation = $2 and lane = $3 and n = $4
        order by shard
        ",
        consumer,
        generation,
        lane.code(),
        CLOSED,
    )
    .fetch_all(tx)
    .await
}

/// What lies between the first of a lane's shards and the last.
struct Behind {
    ends: Vec<LogPoint>,
    first: LogPoint,
    end: LogPoint,
}

impl Behind {
    fn of(ends: Vec<LogPoint>) -> Self {
        let points = ends.iter().copied();
        let first = points.clone().min().expect("a consumer has a shard");
        let end = points.max().expect("a consumer has a shard");
        Self { ends, first, end }
    }

    /// Events that their shards had not handled, and seals that some had not passed; nothing when
    /// they are too many.
    async fn read(
        &self,
        tx: &mut PgConnection,
        lane: Lane,
        topics: &[String],
    ) -> Result<Option<Vec<Event>>, sqlx::Error> {
        let (mut after, mut late) = (self.first, Vec::new());
        while after < self.end {
            let wanted = (lane, Some(topics));
            let Some(page) = postgres::read_some(tx, wanted, after, PAGE).await? else {
                break;
            };
            let events = page.events.iter().filter(|event| self.is_late(event));
            late.extend(events.cloned());
            if late.len() > BETWEEN {
                return Ok(None);
            }
            after = page.to;
        }
        Ok(Some(late))
    }

    fn is_late(&self, event: &Event) -> bool {
        let shard = usize::from(event.part.unsigned_abs()) % self.ends.len();
        let is_unread = event.topic == SEALED || self.ends[shard] < event.point;
        is_unread && event.point <= self.end
    }
}

/// Starts the next generation.
async fn open(
    tx: &mut PgConnection,
    consumer: i16,
    shards: i16,
    starts: &[Start],
) -> Result<(), sqlx::Error> {
    let lanes: Vec<i16> = starts.iter().map(|start| start.lane.code()).collect();
    let numbers: Vec<i16> = starts.iter().map(|start| start.shard).collect();
    let ticks: Vec<i64> = starts.iter().map(|start| start.at.tick).collect();
    let ids: Vec<i64> = starts.iter().map(|start| start.at.id).collect();
    let passed: Vec<i64> = starts
        .iter()
        .map(|start| i64::try_from(start.passed).unwrap_or(i64::MAX))
        .collect();
    sqlx::query!(
        "
        -- operation: open a generation of other shards
        with opened as (
            update outbox.consumer
            set generation = generation + 1, shards = $2,
                since_tick = (select min(tick) from unnest($5::bigint[]) as tick)
            where consumer = $1
            returning consumer, generation
        )
        insert into outbox.position (consumer, generation, lane, shard, n, tick, id, passed)
        select consumer, generation, lane, shard, 0, tick, id, passed
        from opened
        cross join unnest(
            $3::smallint[], $4::smallint[], $5::bigint[], $6::bigint[], $7::bigint[]
        ) as start (lane, shard, tick, id, passed)
        ",
        consumer,
        shards,
        &lanes,
        &numbers,
        &ticks,
        &ids,
        &passed,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// The wrong way: shards that were there go on, and the new ones begin where the last of them is.
async fn count_otherwise(
    tx: &mut PgConnection,
    consumer: i16,
    shards: i16,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "
        -- operation: count the shards otherwise
        with counted as (
            update outbox.consumer set shards = $2 where consumer = $1
            returning generation
        )
        insert into outbox.position (consumer, generation, lane, shard, n, tick, id, passed)
        select $1, generation, lane, number, 0, min(tick), min(id), 0
        from counted
        join outbox.position using (generation)
        cross join generate_series(0, $2::int - 1) as number
        where consumer = $1
        group by generation, lane, number
        on conflict do nothing
        ",
        consumer,
        shards,
    )
    .execute(tx)
    .await
    .map(drop)
}

async fn note(
    tx: &mut PgConnection,
    consumer: i16,
    resharded: Resharded,
    by: &By,
) -> Result<(), sqlx::Error> {
    let Resharded { from, to, parked } = resharded;
    sqlx::query!(
        "
        -- operation: note a reshard
        insert into outbox.operation (verb, consumer, actor, reason, told, changed)
        values ('reshard', $1, $2, $3, $4, 1)
        ",
        consumer,
        by.actor,
        by.reason,
        json!({"from": from, "to": to, "parked": parked}),
    )
    .execute(tx)
    .await?;
    Ok(())
}
