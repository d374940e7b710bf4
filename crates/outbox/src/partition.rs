//! Partitions of the log: ranges of ids, made ahead of time, indexed for history once they are
//! closed.
//!
//! Appenders must never wait for this. A partition is therefore a table that was prepared beside
//! the log and is then attached; what has to be locked for that is waited for 50 ms at most,
//! because everybody else queues behind who waits. Who comes too late finds a net: the default
//! partition takes what no other does, and the next partition is attached beyond it.

use sqlx::{AssertSqlSafe, PgConnection, PgPool};

use crate::append;

/// How many ids a partition holds.
const SIZE: i64 = 10_000_000;
/// How many whole partitions lie ahead of the newest event.
const AHEAD: i64 = 2;
/// Any fixed number: whoever changes the partitions of this log holds this lock.
const LOCK: i64 = 0x6f75_7462_6f79;
const BEGIN: &str = "begin isolation level read committed; set local lock_timeout = '50ms'";

/// What was done for the log's partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Prepared {
    /// Partitions that were made.
    pub made: i64,
    /// Closed ones that were indexed.
    pub indexed: i64,
}

struct Bounds {
    /// The last id that was drawn.
    drawn: i64,
    /// Where the partitions end.
    end: i64,
    /// Whether events lie in the default partition.
    is_net_used: bool,
}

/// Makes the partitions that are missing ahead of the log, and indexes those that are closed. When
/// a lock is not to be had at once, or another relay is at it, it is for the next time.
///
/// # Errors
/// The database's.
pub(crate) async fn prepare(pool: &PgPool) -> Result<Prepared, sqlx::Error> {
    let mut prepared = Prepared::default();
    while make_next(pool).await? {
        prepared.made += 1;
    }
    while index_next(pool).await? {
        prepared.indexed += 1;
    }
    Ok(prepared)
}

/// Makes the next partition if it is missing; false when none is, or somebody else is at it.
async fn make_next(pool: &PgPool) -> Result<bool, sqlx::Error> {
    let mut tx = append::begin(pool, BEGIN).await?;
    let bounds = bounds(&mut tx).await?;
    if bounds.end >= bounds.drawn + AHEAD * SIZE || !is_ours(&mut tx).await? {
        return Ok(false);
    }
    let from = if bounds.end > bounds.drawn && !bounds.is_net_used {
        bounds.end
    } else {
        // Beyond what can be drawn until it is attached.
        let beyond = bounds.end.max(bounds.drawn + SIZE / 2);
        (beyond + SIZE - 1) / SIZE * SIZE
    };
    let name = format!("event_{}", from / SIZE);
    if bounds.is_net_used {
        tx = fence_the_net(pool, tx, from).await?;
        if !is_ours(&mut tx).await? {
            return Ok(false);
        }
    }
    let to = from + SIZE;
    sqlx::raw_sql(AssertSqlSafe(format!(
        "create table outbox.{name} (
                like outbox.event including defaults including constraints including indexes,
                constraint {name}_ids check (id >= {from} and id < {to})
            );
            -- See migration 0010.
            alter table outbox.{name} alter column xid set (n_distinct = -0.5);
            alter table outbox.event attach partition outbox.{name}
                for values from ({from}) to ({to});
            alter table outbox.{name} drop constraint {name}_ids;
            alter table outbox.event_default drop constraint if exists event_default_outside"
    )))
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(true)
}

/// Attaching reads the whole default partition, and nobody appends meanwhile, unless a constraint
/// says that it has no such rows. To find that out stops nobody.
async fn fence_the_net(
    pool: &PgPool,
    mut tx: sqlx::PgTransaction<'static>,
    from: i64,
) -> Result<sqlx::PgTransaction<'static>, sqlx::Error> {
    let to = from + SIZE;
    sqlx::raw_sql(AssertSqlSafe(format!(
        "alter table outbox.event_default drop constraint if exists event_default_outside;
            alter table outbox.event_default add constraint event_default_outside
                check (id < {from} or id >= {to}) not valid"
    )))
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    let mut tx = append::begin(pool, BEGIN).await?;
    sqlx::raw_sql("alter table outbox.event_default validate constraint event_default_outside")
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    append::begin(pool, BEGIN).await
}

async fn bounds(conn: &mut PgConnection) -> Result<Bounds, sqlx::Error> {
    sqlx::query_as!(
        Bounds,
        r#"
        -- partition: bounds
        select (select last_value from outbox.event_id) as "drawn!",
            coalesce(max(
                substring(pg_get_expr(relpartbound, oid) from 'TO \(''(\d+)''\)')::bigint
            ), 0) as "end!",
            exists (select from outbox.event_default) as "is_net_used!"
        from pg_class
        join pg_inherits on inhrelid = pg_class.oid
        where inhparent = 'outbox.event'::regclass
        "#
    )
    .fetch_one(conn)
    .await
}

/// Whether nobody else changes the partitions; nobody can until this transaction ends.
async fn is_ours(tx: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"
        -- partition: lock
        select pg_try_advisory_xact_lock($1) as "is_ours!"
        "#,
        LOCK,
    )
    .fetch_one(tx)
    .await
}

/// Indexes the oldest closed partition that has no index on the key yet; false when there is none.
///
/// Closed is what lies below the newest tick's floor: nothing can be appended there any more. So a
/// plain CREATE INDEX stops nobody.
async fn index_next(pool: &PgPool) -> Result<bool, sqlx::Error> {
    let mut tx = append::begin(pool, BEGIN).await?;
    let closed = sqlx::query_scalar!(
        r#"
        -- partition: closed without an index
        select relname as "name!"
        from pg_class
        join pg_inherits on inhrelid = pg_class.oid
        where inhparent = 'outbox.event'::regclass
            and substring(pg_get_expr(relpartbound, pg_class.oid) from 'TO \(''(\d+)''\)')::bigint
                <= (select floor from outbox.tick order by n desc limit 1)
            and to_regclass(format('outbox.%I', relname || '_by_key')) is null
        order by pg_class.oid
        limit 1
        "#
    )
    .fetch_optional(&mut *tx)
    .await?;
    let Some(name) = closed else { return Ok(false) };
    if !is_ours(&mut tx).await? {
        return Ok(false);
    }
    sqlx::raw_sql(AssertSqlSafe(format!(
        "create index {name}_by_key on outbox.{name} (key, id)"
    )))
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(true)
}
