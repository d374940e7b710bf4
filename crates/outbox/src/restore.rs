//! Restore: whether the transaction ids in the log are those of the cluster it stands in, and what
//! to do when they are not.
//!
//! A physical copy (failover, point-in-time recovery) brings events, ticks and positions back to
//! one point of the write-ahead log together: it goes on, with a warning, because what had already
//! left the database may be ahead of it. A restored dump does not go on by itself. Its new cluster
//! counts transactions from a number of its own, and a diff of old and new ids would lose events or
//! repeat them.
//!
//! **Rebase** closes the old numbers. Two ticks follow the last one. The first has a snapshot that
//! sees every old number: by the old numbers alone it holds exactly what the last tick did not see.
//! The second holds nothing; its snapshot is one of the new cluster, and its floor lies above every
//! id that was drawn, so that no later diff can meet an old row, whatever its number. No reader
//! takes a diff across the two ([`crate::transport::postgres`]).
//!
//! Owns `outbox.origin`. Writes `outbox.tick` in a rebase.

use sqlx::{PgConnection, PgPool};

use crate::append;
use crate::operation::By;

/// Why this log cannot be read on here.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The rows came from another cluster.
    #[error(
        "the log was written in cluster {written} and stands in cluster {here}, as after a \
         restored dump: its transaction ids mean nothing here. Stop every program that uses the \
         original, then run `outbox-relay rebase --reason TEXT`"
    )]
    OtherCluster {
        /// The system identifier of the cluster that wrote the log.
        written: i64,
        /// Of the one it stands in.
        here: i64,
    },
    /// The cluster's next transaction id lies below what the newest tick has seen.
    #[error(
        "the server's next transaction id {next} lies below {seen}, which the newest tick has \
         seen, as after a reset of the write-ahead log: events would be lost or repeated. Run \
         `outbox-relay rebase --reason TEXT`"
    )]
    Regressed {
        /// The next transaction id.
        next: String,
        /// The upper bound of the newest tick's snapshot.
        seen: String,
    },
    /// The questions could not be asked.
    #[error("could not ask the server which cluster it is")]
    Database(#[from] sqlx::Error),
}

/// What a rebase came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rebased {
    /// The tick with what the last one had not seen.
    pub tick: i64,
    /// How many events that was.
    pub events: i64,
}

/// Refuses a log whose transaction ids are not this cluster's. A new timeline is noted, with a
/// warning.
///
/// # Errors
/// [`RestoreError`] says what was found.
pub(crate) async fn refuse_foreign_log(pool: &PgPool) -> Result<(), RestoreError> {
    let found = sqlx::query!(
        r#"
        -- restore: whose transaction ids
        select origin.system_identifier as written, control.system_identifier as "here!",
            origin.timeline, outbox.timeline() as "timeline_now!",
            next.xid::text as "next!", seen.xid::text as "seen!", next.xid < seen.xid as "is_back!"
        from outbox.origin
        cross join pg_control_system() as control
        cross join (select pg_snapshot_xmax(pg_current_snapshot()) as xid) as next
        cross join (
            select pg_snapshot_xmax(snapshot) as xid from outbox.tick order by n desc limit 1
        ) as seen
        "#
    )
    .fetch_one(pool)
    .await?;
    if found.written != found.here {
        let (written, here) = (found.written, found.here);
        return Err(RestoreError::OtherCluster { written, here });
    }
    if found.is_back {
        let (next, seen) = (found.next, found.seen);
        return Err(RestoreError::Regressed { next, seen });
    }
    if found.timeline != found.timeline_now {
        note_timeline(pool, found.timeline, found.timeline_now).await?;
    }
    Ok(())
}

async fn note_timeline(pool: &PgPool, before: i64, now: i64) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "
        -- restore: a new timeline
        update outbox.origin set timeline = $1, at = clock_timestamp()
        ",
        now,
    )
    .execute(pool)
    .await?;
    tracing::warn!(
        before,
        now,
        "The database went on on a new timeline, as after a failover or a recovery to a point in \
         time. What had left it by then may be ahead of it: calls that were made and are made \
         again (they are looked up where the other side can tell), mails, a stream's last messages"
    );
    Ok(())
}

/// Makes a log that came from another cluster readable here: nothing is lost, nothing repeated.
/// Nobody appends while it runs, and no program may work on the original any more.
///
/// # Errors
/// The database's; nothing was changed then.
pub async fn rebase(pool: &PgPool, by: &By) -> Result<Rebased, sqlx::Error> {
    let mut tx = append::begin(pool, "begin isolation level read committed").await?;
    sqlx::query!(
        "
        -- restore: nobody appends, nobody cuts
        lock table outbox.event, outbox.tick in share row exclusive mode
        "
    )
    .execute(&mut *tx)
    .await?;
    let rebased = close_the_old(&mut tx).await?;
    begin_the_new(&mut tx, rebased.tick).await?;
    note(&mut tx, rebased, by).await?;
    tx.commit().await?;
    Ok(rebased)
}

/// The tick of all that the last one had not seen, by the numbers of the old cluster. What was
/// appended here before, by a program that did not ask where it is, gets the highest of them.
async fn close_the_old(tx: &mut PgConnection) -> Result<Rebased, sqlx::Error> {
    let highest = highest_old_number(tx).await?;
    sqlx::query!(
        "
        -- restore: what was appended here already
        update outbox.event set xid = $1::text::xid8
        where id > (select max(max_id) from outbox.tick)
            and pg_visible_in_snapshot(
                xid, (select snapshot from outbox.tick order by n desc limit 1)
            )
        ",
        highest,
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query_as!(
        Rebased,
        r#"
        -- restore: the tick that closes the old numbers
        with last as materialized (
            select n, snapshot::text::pg_snapshot as snapshot, sequence, floor, max_id
            from outbox.tick order by n desc limit 1
        ),
        rest as (
            select count(*) as events, max(id) as max_id
            from outbox.event
            where id > (select floor from last)
                and not pg_visible_in_snapshot(xid, (select snapshot from last))
        ),
        above as (select ($1::text::numeric + 1)::text as xid)
        insert into outbox.tick (n, snapshot, sequence, xid, floor, events, max_id)
        select n + 1, concat(above.xid, ':', above.xid, ':')::pg_snapshot, sequence,
            above.xid::xid8, floor, events, coalesce(rest.max_id, last.max_id)
        from last, rest, above
        returning n as tick, events
        "#,
        highest,
    )
    .fetch_one(tx)
    .await
}

async fn highest_old_number(tx: &mut PgConnection) -> Result<String, sqlx::Error> {
    sqlx::query_scalar!(
        r#"
        -- restore: the highest old number
        with last as materialized (
            select floor, pg_snapshot_xmax(snapshot)::text::numeric as xmax
            from outbox.tick order by n desc limit 1
        )
        select greatest(xmax, (
            select max(xid::text::numeric) from outbox.event where id > floor
        ))::text as "highest!"
        from last
        "#
    )
    .fetch_one(tx)
    .await
}

/// The tick from which the numbers of this cluster count. Its floor is the last id that was drawn:
/// nobody appends now.
async fn begin_the_new(tx: &mut PgConnection, after: i64) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "
        -- restore: the tick that begins the new numbers
        with drawn as (
            select greatest(last_value, (select max(id) from outbox.event)) as id
            from outbox.event_id
        ),
        begun as (
            insert into outbox.tick (n, snapshot, sequence, floor, events, max_id)
            select $1::bigint + 1, pg_current_snapshot(), drawn.id, drawn.id, 0, max_id
            from outbox.tick, drawn
            where n = $1
        ),
        going_on as (
            select setval('outbox.event_id', greatest(drawn.id, 1)) from drawn
        )
        update outbox.origin
        set system_identifier = control.system_identifier, timeline = outbox.timeline(),
            rebased_id = drawn.id, rebased_tick = $1, at = clock_timestamp()
        from drawn, pg_control_system() as control, going_on
        ",
        after,
    )
    .execute(tx)
    .await?;
    Ok(())
}

async fn note(tx: &mut PgConnection, rebased: Rebased, by: &By) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "
        -- restore: note a rebase
        insert into outbox.operation (verb, actor, reason, told, changed)
        values ('rebase', $1, $2, jsonb_build_object('tick', $3::bigint), $4)
        ",
        by.actor,
        by.reason,
        rebased.tick,
        rebased.events,
    )
    .execute(tx)
    .await?;
    Ok(())
}
