//! What is still to come: committed events without a tick, events behind a consumer's positions, and
//! deliveries in trouble.

use sqlx::PgPool;

use crate::event::{Lane, LogPoint};
use crate::tick::{self, Diff};
use crate::transport::postgres;

/// What a consumer has not handled yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    /// Whether the log holds events that the consumer has not passed.
    pub behind: bool,
    /// Deliveries that run, or are due within half a minute.
    pub due: i64,
    /// Deliveries that wait longer, or behind another of their key.
    pub waiting: i64,
    /// Dead letters.
    pub dead: i64,
}

/// How many committed events are in no tick yet.
///
/// # Errors
/// The database's.
pub async fn pending(pool: &PgPool) -> Result<i64, sqlx::Error> {
    let mut conn = pool.acquire().await?;
    let (newest, current, _) = tick::newest(&mut conn).await?;
    let diff = Diff::between(&newest.snapshot, &current);
    Ok(tick::content(&mut conn, &diff, newest.floor).await?.events)
}

/// What the consumer `name` has still to do; nothing for one that is not registered.
///
/// # Errors
/// The database's.
pub async fn backlog(pool: &PgPool, name: &str) -> Result<Backlog, sqlx::Error> {
    let mut backlog = deliveries(pool, name).await?;
    for lane in Lane::ALL {
        backlog.behind |= is_behind(pool, name, lane).await?;
    }
    Ok(backlog)
}

/// Positions are written lazily over events of other topics, so "at the end of the log" has to be
/// asked of the events, not of the numbers.
async fn is_behind(pool: &PgPool, name: &str, lane: Lane) -> Result<bool, sqlx::Error> {
    let shards = sqlx::query!(
        "
        -- backlog: positions
        select distinct on (shard) shard, shards, topics, tick, id
        from outbox.position
        join outbox.consumer using (consumer, generation)
        where name = $1 and lane = $2
        order by shard, n desc
        ",
        name,
        lane.code(),
    )
    .fetch_all(pool)
    .await?;
    let point = |tick, id| LogPoint { tick, id };
    let Some(mut after) = shards.iter().map(|row| point(row.tick, row.id)).min() else {
        return Ok(false);
    };
    let mut conn = pool.acquire().await?;
    while let Some(page) = postgres::read(&mut conn, lane, after).await? {
        let unread = page.events.iter().any(|event| {
            shards.iter().any(|row| {
                event.part % row.shards == row.shard
                    && point(row.tick, row.id) < event.point
                    && row.topics.contains(&event.topic)
            })
        });
        if unread {
            return Ok(true);
        }
        after = page.to;
    }
    Ok(false)
}

async fn deliveries(pool: &PgPool, name: &str) -> Result<Backlog, sqlx::Error> {
    let row = sqlx::query!(
        r#"
        -- backlog: deliveries
        select
            count(*) filter (where state = 'running' or (state = 'retry' and is_head
                and next_at < clock_timestamp() + interval '30 seconds')) as "due!",
            count(*) filter (where state = 'retry' and not (is_head
                and next_at < clock_timestamp() + interval '30 seconds')) as "waiting!",
            count(*) filter (where state = 'dead') as "dead!"
        from (
            select state, next_at, not exists (
                select from outbox.delivery as earlier
                where earlier.consumer = delivery.consumer and earlier.key = delivery.key
                    and (earlier.tick, earlier.id) < (delivery.tick, delivery.id)
                    and (earlier.state <> 'dead' or on_dead = 'halt')
            ) as is_head
            from outbox.delivery
            join outbox.consumer using (consumer)
            where name = $1
        ) as delivery
        "#,
        name,
    )
    .fetch_one(pool)
    .await?;
    Ok(Backlog {
        behind: false,
        due: row.due,
        waiting: row.waiting,
        dead: row.dead,
    })
}

/// How many events the consumers have gone past since the log began, dead letters included; the
/// difference of two answers is what was handled between.
///
/// # Errors
/// The database's.
pub async fn handled(pool: &PgPool) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"
        -- backlog: handled so far
        select coalesce(sum(passed), 0)::bigint as "passed!"
        from (
            select distinct on (consumer, generation, lane, shard) passed
            from outbox.position
            order by consumer, generation, lane, shard, n desc
        ) as newest
        "#
    )
    .fetch_one(pool)
    .await
}
