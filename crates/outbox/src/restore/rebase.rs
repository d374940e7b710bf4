//! Rebase: lets a log go on in another cluster than the one that wrote it.
//!
//! One tick, cut while nobody can append, holds exactly what no tick holds yet: rows with an id
//! above all ticks', and those below that the newest snapshot does not see, compared as numbers.
//! From there a new chain of diffs begins, which never looks at the rows before it: their
//! transaction ids are the old cluster's, and may be anybody's here.
//!
//! Owns `outbox.rebase`.

use sqlx::{PgConnection, PgPool};

use super::{Cluster, RestoreError, cluster, refuse};
use crate::failpoint;
use crate::operation::{By, Unsigned};

/// Why the log was not rebased.
#[derive(Debug, thiserror::Error)]
pub enum RebaseError {
    /// The log is this cluster's own.
    #[error("the log was written in this cluster and goes on as it is; nothing was changed")]
    NotNeeded,
    /// Nobody says why.
    #[error(transparent)]
    Unsigned(#[from] Unsigned),
    /// The database's. Nothing was changed.
    #[error("the log could not be rebased")]
    Database(#[from] sqlx::Error),
}

/// What a rebase came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rebased {
    /// The tick that begins the new chain.
    pub tick: i64,
    /// How many events it holds that no tick held before.
    pub events: i64,
}

/// Lets the log go on in the cluster that it stands in now. What the dump holds is handled once by
/// each consumer, counted from where it stood at the dump; claims of the old cluster's workers are
/// void.
///
/// # Errors
/// [`RebaseError`]: nothing was changed.
pub async fn rebase(pool: &PgPool, by: &By) -> Result<Rebased, RebaseError> {
    by.refuse_unsigned()?;
    // Not in the transaction: a server that does not tell would end it.
    let here = cluster(&mut *pool.acquire().await?).await?;
    let begin = "begin isolation level read committed";
    let mut tx = crate::append::begin(pool, begin).await?;
    stop_all(&mut tx).await?;
    match refuse(&mut tx, here).await {
        Ok(()) => return Err(RebaseError::NotNeeded),
        Err(RestoreError::Database(error)) => return Err(error.into()),
        Err(_) => {}
    }
    void_claims(&mut tx).await?;
    let rebased = cut(&mut tx).await?;
    failpoint!("rebase.cut")?;
    note(&mut tx, here, rebased, by).await?;
    tx.commit().await?;
    Ok(rebased)
}

/// Waits for all writers to end and keeps new ones out, in the order in which they lock, until
/// this transaction ends. From here on no id is drawn and no row invisible.
async fn stop_all(tx: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "
        -- rebase: stop all writers
        lock table outbox.position, outbox.delivery, outbox.event, outbox.tick
        in share row exclusive mode
        "
    )
    .execute(tx)
    .await
    .map(drop)
}

/// The owners work in the old cluster, if anywhere.
async fn void_claims(tx: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "
        -- rebase: void the claims of shards
        insert into outbox.position (consumer, generation, lane, shard, n, tick, id, passed)
        select consumer, generation, lane, shard, n + 1, tick, id, passed
        from (
            select distinct on (consumer, generation, lane, shard) *
            from outbox.position
            order by consumer, generation, lane, shard, n desc
        ) as newest
        where owner is not null
        "
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "
        -- rebase: void the claims of deliveries
        update outbox.delivery set deadline = least(deadline, clock_timestamp())
        where state = 'running'
        "
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!("-- rebase: forget the members\ndelete from outbox.member")
        .execute(tx)
        .await
        .map(drop)
}

/// Its floor is above all rows, so no later diff reads one of them; and so must be all ids to come,
/// though some ways of copying a database leave its sequences behind. The old ticks' transactions
/// mean nothing here and must not be taken for a floor.
async fn cut(tx: &mut PgConnection) -> Result<Rebased, sqlx::Error> {
    sqlx::query!("-- rebase: old transactions\nupdate outbox.tick set xid = '0' where xid <> '0'")
        .execute(&mut *tx)
        .await?;
    let rebased = sqlx::query_as!(
        Rebased,
        r#"
        -- rebase: cut
        with last as materialized (
            select n, floor, pg_snapshot_xmax(snapshot) as upper,
                array(select pg_snapshot_xip(snapshot)) as open,
                (select max(max_id) from outbox.tick) as base
            from outbox.tick
            order by n desc
            limit 1
        ),
        content as (
            select count(*) as events
            from outbox.event, last
            where id > floor and (id > base or xid >= upper or xid = any (open))
        ),
        highest as (
            select greatest(base, (select max(id) from outbox.event)) as id from last
        )
        insert into outbox.tick (n, snapshot, sequence, floor, events, max_id, base)
        select n + 1, pg_current_snapshot(), 0, highest.id, events, highest.id, base
        from last, content, highest
        returning n as tick, events
        "#
    )
    .fetch_one(&mut *tx)
    .await?;
    sqlx::query_scalar!(
        r#"
        -- rebase: ids to come are above
        select setval('outbox.event_id', floor) as "id!"
        from outbox.tick, outbox.event_id
        where n = $1 and floor > last_value
        "#,
        rebased.tick,
    )
    .fetch_optional(tx)
    .await?;
    Ok(rebased)
}

async fn note(
    tx: &mut PgConnection,
    here: Option<Cluster>,
    rebased: Rebased,
    by: &By,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "
        -- rebase: note
        with was as (
            select system_identifier from outbox.meta
        ),
        moved as (
            update outbox.meta
            set system_identifier = $2, timeline = $3, at = clock_timestamp()
        )
        insert into outbox.rebase (tick, actor, reason, from_identifier, to_identifier, events)
        select $1, $4, $5, system_identifier, $2, $6 from was
        ",
        rebased.tick,
        here.map(|here| here.system_identifier),
        here.map(|here| here.timeline),
        by.actor,
        by.reason,
        rebased.events,
    )
    .execute(tx)
    .await
    .map(drop)
}
