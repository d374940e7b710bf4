//! How the log and its consumers stand: what a person asks for at night, and what a monitor asks
//! for four times a minute. No answer costs more the longer the log is.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgPool;

use crate::backlog;
use crate::operation::Paused;

mod batches;

pub use self::batches::BatchStatus;

/// How many ids of the log are looked through for what a consumer has not read; beyond, its lag is
/// an estimate.
const WINDOW: i64 = 20_000;

/// How the log stands.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// By the database's clock, as everything here.
    pub at: DateTime<Utc>,
    /// Live relays.
    pub relays: i64,
    /// The newest tick.
    pub tick: i64,
    /// When it was cut.
    pub cut_at: DateTime<Utc>,
    /// Events of the ticks of the last minute.
    pub events_last_minute: i64,
    /// Committed events that are in no tick yet.
    pub unpublished: i64,
    /// When the first of them was appended.
    pub oldest_unpublished: Option<DateTime<Utc>>,
    /// Events planned for later.
    pub planned: i64,
    /// Of these, due already: no relay has fired them yet.
    pub due: i64,
    /// When the next is due.
    pub next_due: Option<DateTime<Utc>>,
    /// The writing transaction that has been open for longest: its events are still to come.
    pub oldest_writer: Option<Writer>,
    /// The consumers by name.
    pub consumers: Vec<ConsumerStatus>,
    /// Batches that are not done, the oldest ones.
    pub batches: Vec<BatchStatus>,
}

/// A transaction of this database that has written something.
#[derive(Debug, Clone, Serialize)]
pub struct Writer {
    /// The server's process.
    pub pid: i32,
    /// What the program calls itself.
    pub application: String,
    /// Since when the transaction is open.
    pub since: DateTime<Utc>,
    /// What the session does, in the server's words.
    pub state: String,
}

/// How a consumer stands.
#[derive(Debug, Clone, Serialize)]
pub struct ConsumerStatus {
    /// Its name.
    pub name: String,
    /// What it reads.
    pub topics: Vec<String>,
    /// Into how many shards its keys are divided.
    pub shards: i16,
    /// How often it was replayed or resharded.
    pub generation: i16,
    /// Whether it may be replayed.
    pub replayable: bool,
    /// Whether a dead letter halts its key (`halt`) or not (`skip`).
    pub on_dead: String,
    /// Until when it is paused, if it is.
    pub paused: Option<Paused>,
    /// Live processes that run it.
    pub processes: i64,
    /// Of these, how many leave the other side alone for a while because it is down.
    pub closed: i64,
    /// Events it has not read yet; an estimate when there are many.
    pub unread: i64,
    /// When the oldest of them was appended.
    pub oldest_unread: Option<DateTime<Utc>>,
    /// Deliveries that are retried, run alone, or wait behind one of their key.
    pub in_trouble: i64,
    /// Keys whose later events wait.
    pub blocked_keys: i64,
    /// Dead letters.
    pub dead: i64,
}

/// Asks how the log and its consumers stand.
///
/// # Errors
/// The database's.
pub async fn status(pool: &PgPool) -> Result<Status, sqlx::Error> {
    let row = sqlx::query!(
        r#"
        -- status: log
        select clock_timestamp() as "at!", newest.n, newest.at as cut_at,
            (
                select count(*) from outbox.member
                where consumer = 0 and heartbeat > clock_timestamp() - interval '6 seconds'
            ) as "relays!",
            (
                select coalesce(sum(events), 0)::bigint from (
                    select events, at from outbox.tick order by n desc limit 20000
                ) as late
                where at > clock_timestamp() - interval '1 minute'
            ) as "events_last_minute!",
            (select count(*) from outbox.timer) as "planned!",
            (select count(*) from outbox.timer where due_at <= statement_timestamp()) as "due!",
            (select min(due_at) from outbox.timer) as next_due
        from outbox.tick as newest
        order by n desc
        limit 1
        "#
    )
    .fetch_one(pool)
    .await?;
    let unpublished = backlog::unpublished(pool).await?;
    Ok(Status {
        at: row.at,
        relays: row.relays,
        tick: row.n,
        cut_at: row.cut_at,
        events_last_minute: row.events_last_minute,
        unpublished: unpublished.events,
        oldest_unpublished: unpublished.oldest,
        planned: row.planned,
        due: row.due,
        next_due: row.next_due,
        oldest_writer: oldest_writer(pool).await?,
        consumers: consumers(pool).await?,
        batches: batches::unfinished(pool).await?,
    })
}

async fn oldest_writer(pool: &PgPool) -> Result<Option<Writer>, sqlx::Error> {
    sqlx::query_as!(
        Writer,
        r#"
        -- status: oldest writer
        select pid as "pid!", coalesce(application_name, '') as "application!",
            xact_start as "since!", coalesce(state, '') as "state!"
        from pg_stat_activity
        where datname = current_database() and backend_xid is not null and xact_start is not null
        order by xact_start
        limit 1
        "#
    )
    .fetch_optional(pool)
    .await
}

async fn consumers(pool: &PgPool) -> Result<Vec<ConsumerStatus>, sqlx::Error> {
    let lags = lags(pool).await?;
    let rows = sqlx::query!(
        r#"
        -- status: consumers
        select consumer, name, topics, shards, generation, replayable, on_dead,
            coalesce(paused_until > clock_timestamp(), false) as "is_paused!",
            nullif(paused_until, 'infinity') as paused_until,
            alive.processes as "processes!", alive.closed as "closed!",
            trouble.waiting as "in_trouble!", trouble.keys as "blocked_keys!",
            trouble.dead as "dead!"
        from outbox.consumer
        cross join lateral (
            select count(*) as processes, count(*) filter (
                where closed_until > clock_timestamp()
            ) as closed
            from outbox.member
            where member.consumer = consumer.consumer
                and heartbeat > clock_timestamp() - interval '6 seconds'
        ) as alive
        cross join lateral (
            select count(*) filter (where state <> 'dead') as waiting,
                count(*) filter (where state = 'dead') as dead,
                count(distinct key) filter (where state <> 'dead' or on_dead = 'halt') as keys
            from outbox.delivery
            where delivery.consumer = consumer.consumer
        ) as trouble
        order by name
        "#
    )
    .fetch_all(pool)
    .await?;
    let status = rows.into_iter().map(|row| {
        let lag = lags.get(&row.consumer).copied().unwrap_or_default();
        ConsumerStatus {
            name: row.name,
            topics: row.topics,
            shards: row.shards,
            generation: row.generation,
            replayable: row.replayable,
            on_dead: row.on_dead,
            paused: row
                .is_paused
                .then(|| row.paused_until.map_or(Paused::UntilResumed, Paused::Until)),
            processes: row.processes,
            closed: row.closed,
            unread: lag.unread,
            oldest_unread: lag.oldest,
            in_trouble: row.in_trouble,
            blocked_keys: row.blocked_keys,
            dead: row.dead,
        }
    });
    Ok(status.collect())
}

/// How far a consumer is behind.
#[derive(Debug, Clone, Copy, Default)]
struct Lag {
    unread: i64,
    oldest: Option<DateTime<Utc>>,
}

/// What a consumer has not read is counted in a window behind its last shard; where the log is
/// longer, the rest is taken to be like the window.
async fn lags(pool: &PgPool) -> Result<HashMap<i16, Lag>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"
        -- status: lags
        with newest as materialized (
            select consumer.consumer, lanes.lane, number::smallint as shard, newest.id
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
        log_end as (select max(max_id) as id from (
            select max_id from outbox.tick order by n desc limit 64
        ) as late)
        select consumer,
            case
                when seen.looked < $1 then seen.unread
                else seen.unread * greatest(log_end.id - behind.id, $1) / $1
            end as "unread!",
            seen.oldest
        from outbox.consumer
        cross join log_end
        cross join lateral (
            select coalesce(min(id), 0) as id from newest
            where newest.consumer = consumer.consumer
        ) as behind
        cross join lateral (
            select count(*) as looked,
                count(*) filter (where is_unread) as unread,
                min(at) filter (where is_unread) as oldest
            from (
                select at, topic = any (topics) and id > (
                    select newest.id from newest
                    where newest.consumer = consumer.consumer
                        and newest.lane = event.lane
                        and newest.shard = event.part % shards
                ) as is_unread
                from outbox.event
                where id > behind.id
                order by id
                limit $1
            ) as late
        ) as seen
        "#,
        WINDOW,
    )
    .fetch_all(pool)
    .await?;
    let lag = |unread, oldest| Lag { unread, oldest };
    Ok(rows
        .into_iter()
        .map(|row| (row.consumer, lag(row.unread, row.oldest)))
        .collect())
}

impl Status {
    /// For how long something has lasted, by the database's clock.
    #[must_use]
    pub fn age(&self, since: DateTime<Utc>) -> Duration {
        (self.at - since).to_std().unwrap_or_default()
    }
}
