//! What is still to come: committed events without a tick, events behind a consumer's positions,
//! and deliveries in trouble.

use std::time::Duration;

use sqlx::PgPool;

use crate::clock::micros;
use crate::tick::{self, Content, Diff, Snapshot};

mod watch;

pub use watch::BacklogWatch;

/// An instant of the log, to count from.
#[derive(Debug, Clone)]
pub struct Mark {
    snapshot: Snapshot,
    floor: i64,
    tick: i64,
    handled: i64,
}

/// What happened to the log since a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Since {
    /// Events committed.
    pub appended: i64,
    /// Events that a relay published.
    pub published: i64,
    /// Events that consumers went past, counted per consumer, dead letters included.
    pub handled: i64,
}

impl Mark {
    /// Marks the instant of now.
    ///
    /// # Errors
    /// The database's.
    pub async fn now(pool: &PgPool) -> Result<Self, sqlx::Error> {
        let mut conn = pool.acquire().await?;
        let (newest, snapshot, _) = tick::newest(&mut conn).await?;
        drop(conn);
        let handled = handled(pool).await?;
        Ok(Self {
            snapshot,
            floor: newest.floor,
            tick: newest.n,
            handled,
        })
    }

    /// Counts what happened since.
    ///
    /// # Errors
    /// The database's.
    pub async fn since(&self, pool: &PgPool) -> Result<Since, sqlx::Error> {
        let mut conn = pool.acquire().await?;
        let (_, current, _) = tick::newest(&mut conn).await?;
        let diff = Diff::between(&self.snapshot, &current);
        let appended = tick::content(&mut conn, &diff, self.floor).await?.events;
        drop(conn);
        let published = published_after(pool, self.tick).await?;
        Ok(Since {
            appended,
            published,
            handled: handled(pool).await? - self.handled,
        })
    }
}

async fn published_after(pool: &PgPool, tick: i64) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"
        -- backlog: published after a tick
        select coalesce(sum(events), 0)::bigint as "published!" from outbox.tick where n > $1
        "#,
        tick,
    )
    .fetch_one(pool)
    .await
}

/// In how many places at most the unread log is looked into for an estimate, and at how many ids in
/// each: twenty thousand events take a twentieth of a second to look through.
const WINDOWS: i64 = 100;
const WINDOW: i64 = 200;

/// About how many events the consumers have still to handle, counted per consumer; for progress
/// only, since a transaction that commits late is counted by its early ids, and of a long log only
/// parts are looked at.
///
/// # Errors
/// The database's.
pub async fn unread_estimate(pool: &PgPool) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"
        -- backlog: about how many are unread
        with newest as (
            select consumer.consumer, lanes.lane, number::smallint as shard, shards, topics,
                newest.id
            from outbox.consumer
            cross join (values (0::smallint), (1)) as lanes (lane)
            cross join generate_series(0, shards - 1) as number
            cross join lateral (
                select id
                from outbox.position
                where position.consumer = consumer.consumer
                    and generation = consumer.generation
                    and lane = lanes.lane
                    and shard = number
                order by n desc
                limit 1
            ) as newest
        ),
        -- Per consumer, topic and lane: a table of a thousand rows, found by hash for each event.
        wanted as materialized (
            select topic, lane, part::smallint as part, id
            from newest
            cross join unnest(topics) as topic
            join generate_series(0, 63) as part on part % shards = shard
        ),
        -- The unread log from end to end, in so many windows at most: where it is longer than they
        -- are together, there are gaps between them.
        unread as materialized (
            select behind.id as behind,
                greatest(ceil((log_end.id - behind.id) / $1::bigint::numeric)::bigint, $2) as step
            from (select min(id) as id from newest) as behind
            cross join (select max(max_id) as id from (
                select max_id from outbox.tick order by n desc limit 64
            ) as late) as log_end
        )
        select (count(*) * (select step from unread) / $2)::bigint as "unread!"
        from unread
        cross join generate_series(0, $1 - 1) as nth
        cross join lateral (
            select topic, lane, part, id
            from outbox.event
            where id > behind + nth * step and id <= behind + nth * step + $2
            offset 0
        ) as seen
        join wanted using (topic, lane, part)
        where seen.id > wanted.id
        "#,
        WINDOWS,
        WINDOW,
    )
    .fetch_one(pool)
    .await
}

/// What a consumer has not handled yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    /// Whether the log holds events that the consumer has not passed.
    pub behind: bool,
    /// Deliveries that run, or are due within half a minute (within less, once something moves,
    /// where a watch waits for what is due later still).
    pub due: i64,
    /// Deliveries that wait longer, or behind another of their key.
    pub waiting: i64,
    /// Dead letters.
    pub dead: i64,
}

/// What is left when there is nothing to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rest {
    /// Deliveries that wait for a later attempt, or behind another of their key.
    pub waiting: i64,
    /// Dead letters.
    pub dead: i64,
}

/// How many committed events are in no tick yet.
///
/// # Errors
/// The database's.
pub async fn pending(pool: &PgPool) -> Result<i64, sqlx::Error> {
    unpublished(pool).await.map(|content| content.events)
}

/// The committed events that are in no tick yet.
pub(crate) async fn unpublished(pool: &PgPool) -> Result<Content, sqlx::Error> {
    let mut conn = pool.acquire().await?;
    let (newest, current, _) = tick::newest(&mut conn).await?;
    let diff = Diff::between(&newest.snapshot, &current);
    tick::content(&mut conn, &diff, newest.floor).await
}

/// What the consumer `name` has still to do; nothing for one that is not registered.
///
/// # Errors
/// The database's.
pub async fn backlog(pool: &PgPool, name: &str) -> Result<Backlog, sqlx::Error> {
    BacklogWatch::new(pool.clone()).look(name).await
}

async fn deliveries(pool: &PgPool, name: &str, soon: Duration) -> Result<Backlog, sqlx::Error> {
    let row = sqlx::query!(
        r#"
        -- backlog: deliveries
        select due as "due!", open - due as "waiting!", dead as "dead!"
        from (
            select
                count(*) filter (where state <> 'dead') as open,
                count(*) filter (where state = 'dead') as dead,
                count(*) filter (where state = 'running') + (
                    select count(*)
                    from outbox.head
                    join outbox.consumer using (consumer)
                    where name = $1 and state = 'retry'
                        and next_at <= clock_timestamp() + $2::bigint * interval '1 microsecond'
                ) as due
            from outbox.delivery
            join outbox.consumer using (consumer)
            where name = $1
        ) as counted
        "#,
        name,
        micros(soon),
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
        select coalesce(sum(newest.passed), 0)::bigint as "passed!"
        from outbox.consumer
        cross join generate_series(0, generation) as past
        cross join (values (0), (1)) as lanes (lane)
        -- A generation that is over may have had other shards.
        cross join generate_series(
            0, case when past = generation then shards - 1 else 63 end
        ) as number
        cross join lateral (
            select passed
            from outbox.position
            where position.consumer = consumer.consumer
                and generation = past
                and lane = lanes.lane
                and shard = number
            order by n desc
            limit 1
        ) as newest
        "#
    )
    .fetch_one(pool)
    .await
}
