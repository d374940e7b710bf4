//! Partitions of the log, and the statements that add and remove them beside running appenders.
//!
//! Both need locks that an open transaction can keep from us for hours, and whoever comes next
//! would wait behind us. So each is asked for during a moment only, and tried again later. A new
//! one is prepared as a table of its own and attached; `create table … partition of` would lock
//! appenders out as long as it waits.

use std::path::Path;

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, Executor as _, PgConnection, PgPool, Postgres, Transaction};
use tokio_util::sync::CancellationToken;

use super::RetentionError;
use crate::supervise::pause;
use crate::trouble::is_lock_timeout;

/// How many ids a partition spans.
const SPAN: i64 = 10_000_000;
/// How many partitions are there ahead of the ids in use.
const AHEAD: i64 = 2;
/// Any fixed numbers: whoever makes or indexes partitions holds these locks.
const MAKING: i64 = 0x6f75_7470_6172;
const INDEXING: i64 = 0x6f75_7470_6178;
/// How often a lock is asked for, and for how long each time, in a run of a policy.
const TRIES: usize = 20;
const BETWEEN: std::time::Duration = std::time::Duration::from_millis(500);

/// A partition that spans ids.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) name: String,
    /// Its ids are below.
    pub(super) below: i64,
}

/// What a partition holds.
pub(super) struct Content {
    pub(super) events: i64,
    pub(super) newest: DateTime<Utc>,
}

/// The partitions in the order of their ids; not the default one, which is nobody's.
pub(super) async fn all(pool: &PgPool) -> Result<Vec<Partition>, sqlx::Error> {
    sqlx::query_as!(
        Partition,
        r#"
        -- retention: partitions
        select relname as "name!",
            substring(pg_get_expr(relpartbound, oid) from 'TO \(''(\d+)''\)')::bigint as "below!"
        from pg_class
        join pg_inherits on inhrelid = oid
        where inhparent = 'outbox.event'::regclass
            and pg_get_expr(relpartbound, oid) <> 'DEFAULT'
        order by 2
        "#
    )
    .fetch_all(pool)
    .await
}

/// Makes partitions ahead of the ids in use, and says which. Where events have landed in the
/// default partition already, the next one begins above them.
///
/// # Errors
/// The database's; a lock that is not to be had is one.
pub async fn make_ahead(pool: &PgPool) -> Result<Vec<String>, sqlx::Error> {
    let Some(turn) = turn(pool, MAKING).await? else {
        return Ok(Vec::new());
    };
    let row = sqlx::query!(
        r#"
        -- retention: how far the ids are
        select last_value as "drawn!",
            (select max(id) from outbox.event_default) as "astray"
        from outbox.event_id
        "#
    )
    .fetch_one(pool)
    .await?;
    let end = all(pool).await?.last().map_or(0, |last| last.below);
    // Astray ones go on to be drawn while we look: leave them a whole span.
    let above = row
        .astray
        .map_or(0, |id| (id.max(row.drawn) / SPAN + 2) * SPAN);
    // What is astray lies below where we are: as long as that is inside of a partition, the next
    // one follows it.
    let mut from = if row.drawn < end { end } else { end.max(above) };
    let mut made = Vec::new();
    while from < row.drawn + AHEAD * SPAN {
        if row.astray.is_some() {
            fence_the_net(pool, from).await?;
        }
        made.push(make(pool, from).await?);
        from += SPAN;
    }
    turn.commit().await?;
    Ok(made)
}

/// Held until the transaction ends, in which nothing else is done: it has no snapshot that an index
/// made meanwhile would wait for. Nothing when another has it.
async fn turn(
    pool: &PgPool,
    lock: i64,
) -> Result<Option<Transaction<'static, Postgres>>, sqlx::Error> {
    let mut turn = pool.begin().await?;
    let ours = sqlx::query_scalar!(
        r#"
        -- retention: one at a time
        select pg_try_advisory_xact_lock($1) as "ours!"
        "#,
        lock,
    )
    .fetch_one(&mut *turn)
    .await?;
    Ok(ours.then_some(turn))
}

/// Gives the partitions that end below an id the index of history, and says which had none.
pub(super) async fn index_below(pool: &PgPool, id: i64) -> Result<Vec<String>, sqlx::Error> {
    let Some(turn) = turn(pool, INDEXING).await? else {
        return Ok(Vec::new());
    };
    let mut indexed = Vec::new();
    for partition in all(pool).await? {
        if partition.below < id && partition.index_by_key(pool).await? {
            indexed.push(partition.name);
        }
    }
    turn.commit().await?;
    Ok(indexed)
}

async fn make(pool: &PgPool, from: i64) -> Result<String, sqlx::Error> {
    let (name, below) = (format!("event_{}", from / SPAN), from + SPAN);
    let mut tx = pool.begin().await?;
    brief(&mut tx).await?;
    let table = format!("outbox.{name}");
    for sql in [
        format!("create table {table} (like outbox.event including all)"),
        format!(
            "alter table {table} add constraint {name}_range check (id >= {from} and id < {below})"
        ),
        format!("alter table {table} alter column xid set (n_distinct = -0.5)"),
        format!(
            "alter table outbox.event
            attach partition {table} for values from ({from}) to ({below})"
        ),
        format!("alter table {table} drop constraint {name}_range"),
        "alter table outbox.event_default drop constraint if exists event_default_outside"
            .to_owned(),
    ] {
        run(&mut tx, sql).await?;
    }
    tx.commit().await?;
    Ok(name)
}

/// Attaching reads the whole default partition, and nobody appends meanwhile, unless a constraint
/// says that it has no such rows. To find that out stops nobody.
async fn fence_the_net(pool: &PgPool, from: i64) -> Result<(), sqlx::Error> {
    let below = from + SPAN;
    let mut tx = pool.begin().await?;
    brief(&mut tx).await?;
    for sql in [
        "alter table outbox.event_default drop constraint if exists event_default_outside"
            .to_owned(),
        format!(
            "alter table outbox.event_default add constraint event_default_outside
            check (id < {from} or id >= {below}) not valid"
        ),
    ] {
        run(&mut tx, sql).await?;
    }
    tx.commit().await?;
    let mut tx = pool.begin().await?;
    brief(&mut tx).await?;
    let validate = "alter table outbox.event_default validate constraint event_default_outside";
    run(&mut tx, validate.to_owned()).await?;
    tx.commit().await
}

async fn brief(tx: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "
        -- retention: a moment
        set local lock_timeout = '50ms'
        "
    )
    .execute(tx)
    .await
    .map(drop)
}

/// Defines something; the names are our own.
async fn run(conn: &mut PgConnection, sql: String) -> Result<(), sqlx::Error> {
    conn.execute(AssertSqlSafe(sql)).await.map(drop)
}

impl Partition {
    /// What it holds; nothing if it is empty.
    pub(super) async fn content(&self, pool: &PgPool) -> Result<Option<Content>, sqlx::Error> {
        let row = sqlx::query!(
            r#"
            -- retention: content of the oldest partition
            select count(*) as "events!", max(at) as newest
            from outbox.event
            where id < $1 and tableoid = format('outbox.%I', $2::text)::regclass
            "#,
            self.below,
            self.name,
        )
        .fetch_one(pool)
        .await?;
        let events = row.events;
        Ok(row.newest.map(|newest| Content { events, newest }))
    }

    /// Indexes it by key, and says whether that was still to do. Nobody waits for it.
    async fn index_by_key(&self, pool: &PgPool) -> Result<bool, sqlx::Error> {
        let Self { name, .. } = self;
        let is_there = sqlx::query_scalar!(
            r#"
            -- retention: whether a partition is indexed by key
            select exists (
                select from pg_class join pg_index on indexrelid = oid
                where relname = $1 and relnamespace = 'outbox'::regnamespace and indisvalid
            ) as "is_there!"
            "#,
            format!("{name}_by_key"),
        )
        .fetch_one(pool)
        .await?;
        if is_there {
            return Ok(false);
        }
        let mut conn = pool.acquire().await?;
        // One that was broken off is there, and serves nobody.
        run(
            &mut conn,
            format!("drop index if exists outbox.{name}_by_key"),
        )
        .await?;
        let sql = format!("create index concurrently {name}_by_key on outbox.{name} (key, id)");
        run(&mut conn, sql).await?;
        Ok(true)
    }

    /// Drops it, which must be the oldest, and notes what it held, all or nothing.
    pub(super) async fn drop_with_note(
        &self,
        pool: &PgPool,
        events: i64,
        file: Option<&Path>,
    ) -> Result<(), RetentionError> {
        for _ in 0..TRIES {
            match self.try_to_drop(pool, events, file).await {
                Err(error) if is_lock_timeout(&error) => {
                    pause(&CancellationToken::new(), BETWEEN).await;
                }
                other => return Ok(other?),
            }
        }
        Err(RetentionError::Busy(self.name.clone()))
    }

    async fn try_to_drop(
        &self,
        pool: &PgPool,
        events: i64,
        file: Option<&Path>,
    ) -> Result<(), sqlx::Error> {
        let mut tx = pool.begin().await?;
        self.note(&mut tx, events, file).await?;
        // The locks come last: appenders wait for the end of this transaction from here on.
        brief(&mut tx).await?;
        let name = &self.name;
        run(
            &mut tx,
            format!("alter table outbox.event detach partition outbox.{name}"),
        )
        .await?;
        run(&mut tx, format!("drop table outbox.{name}")).await?;
        tx.commit().await
    }

    async fn note(
        &self,
        tx: &mut PgConnection,
        events: i64,
        file: Option<&Path>,
    ) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "
            -- retention: count what is dropped
            insert into outbox.dropped as known (lane, topic, part, events)
            select lane, topic, part, count(*) from outbox.event
            where id < $1 and tableoid = format('outbox.%I', $2::text)::regclass
            group by lane, topic, part
            on conflict (lane, topic, part) do update
            set events = known.events + excluded.events
            ",
            self.below,
            self.name,
        )
        .execute(&mut *tx)
        .await?;
        sqlx::query!(
            "
            -- retention: where the log begins now
            update outbox.retained
            set id = $1::bigint - 1, event_id = greatest(event_id, (
                select event_id from outbox.event
                where id < $1 and tableoid = format('outbox.%I', $2::text)::regclass
                order by event_id desc
                limit 1
            ))
            ",
            self.below,
            self.name,
        )
        .execute(&mut *tx)
        .await?;
        sqlx::query!(
            "
            -- retention: note the partition
            insert into outbox.archived (partition, last_id, events, file)
            values ($1, $2::bigint - 1, $3, $4)
            ",
            self.name,
            self.below,
            events,
            file.map(|file| file.display().to_string()),
        )
        .execute(tx)
        .await
        .map(drop)
    }
}
