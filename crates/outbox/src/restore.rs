//! Restore: whether the transaction ids in the log are those of the cluster it stands in.
//!
//! A physical copy (failover, point-in-time recovery) brings events, ticks and positions back to
//! one point together and goes on. A restored dump does not: the new cluster counts transactions
//! from a number of its own, and a diff of old and new ids would lose events or repeat them. It
//! waits for a [`rebase`].
//!
//! Owns `outbox.meta`. Reads `outbox.tick`.

use sqlx::{PgConnection, PgPool};

mod rebase;

pub use rebase::{RebaseError, Rebased, rebase};

/// Why this log cannot be read on here.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The rows came from another cluster.
    #[error(
        "the log was written in cluster {written} and stands in cluster {here}, as after a \
         restored dump: its transaction ids mean nothing here, and events would be lost or \
         repeated. If this is to be the log from now on, run \
         `outbox-relay rebase --reason \"…\"`; nothing was changed yet"
    )]
    OtherCluster {
        /// The system identifier of the cluster that wrote the log.
        written: i64,
        /// Of the one that was asked.
        here: i64,
    },
    /// The cluster's next transaction id lies below what the newest tick has seen.
    #[error(
        "the server's next transaction id {next} is below {seen}, which the newest tick has seen, \
         as after a restored dump or a reset write-ahead log: events would be lost or repeated. \
         If this is to be the log from now on, run `outbox-relay rebase --reason \"…\"`; nothing \
         was changed yet"
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

impl RestoreError {
    /// Whether the log must not be read on, however often it is tried.
    pub(crate) fn is_final(&self) -> bool {
        !matches!(self, Self::Database(_))
    }
}

/// Which cluster a server is, and which of its histories it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cluster {
    system_identifier: i64,
    timeline: i32,
}

/// Refuses a log whose transaction ids are not this cluster's. A new timeline is noted with a
/// warning: billing goes on, and a person looks at what lies outside of the database.
///
/// # Errors
/// [`RestoreError`] says what was found.
pub async fn refuse_foreign_log(pool: &PgPool) -> Result<(), RestoreError> {
    let mut conn = pool.acquire().await?;
    let here = cluster(&mut conn).await?;
    refuse(&mut conn, here).await?;
    if let Some(here) = here {
        note(&mut conn, here).await?;
    }
    Ok(())
}

async fn refuse(conn: &mut PgConnection, here: Option<Cluster>) -> Result<(), RestoreError> {
    let row = sqlx::query!(
        r#"
        -- restore: whose transaction ids
        select meta.system_identifier as written, next.xid::text as "next!",
            seen.xid::text as "seen!", next.xid < seen.xid as "regressed!"
        from outbox.meta
        cross join (select pg_snapshot_xmax(pg_current_snapshot()) as xid) as next
        cross join (
            select pg_snapshot_xmax(snapshot) as xid from outbox.tick order by n desc limit 1
        ) as seen
        "#
    )
    .fetch_one(conn)
    .await?;
    if let (Some(written), Some(here)) = (row.written, here) {
        let here = here.system_identifier;
        if written != here {
            return Err(RestoreError::OtherCluster { written, here });
        }
    }
    if row.regressed {
        let (next, seen) = (row.next, row.seen);
        return Err(RestoreError::Regressed { next, seen });
    }
    Ok(())
}

/// Nothing where the server does not tell, as some hosted ones do.
async fn cluster(conn: &mut PgConnection) -> Result<Option<Cluster>, sqlx::Error> {
    let asked = sqlx::query_as!(
        Cluster,
        r#"
        -- restore: which cluster
        select system_identifier as "system_identifier!",
            ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int
                as "timeline!"
        from pg_control_system()
        "#
    )
    .fetch_one(conn)
    .await;
    match asked {
        Ok(cluster) => Ok(Some(cluster)),
        Err(sqlx::Error::Database(error)) if is_untold(error.code().as_deref()) => {
            tracing::warn!(
                %error,
                "The server does not tell which cluster it is; a restored dump is known by its \
                 transaction ids alone"
            );
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// No right to ask, no such function, or a server of another make.
fn is_untold(code: Option<&str>) -> bool {
    matches!(code, Some("42501" | "42883" | "0A000"))
}

/// Notes a cluster that was not told before, or a new timeline.
async fn note(conn: &mut PgConnection, here: Cluster) -> Result<(), sqlx::Error> {
    let was = sqlx::query_scalar!(
        r#"
        -- restore: note the timeline
        update outbox.meta
        set system_identifier = $1, timeline = $2, at = clock_timestamp()
        from (select timeline from outbox.meta) as old
        where (meta.system_identifier, meta.timeline) is distinct from ($1, $2)
        returning old.timeline
        "#,
        here.system_identifier,
        here.timeline,
    )
    .fetch_optional(conn)
    .await?;
    if let Some(Some(was)) = was {
        let now = here.timeline;
        tracing::warn!(
            was,
            now,
            "The database went from timeline {was} to {now}, as after a failover or a recovery to \
             an earlier instant. The log goes on; if the recovery left out the last moments, look \
             at what was done outside of it since: calls to the gateway, mails, streams"
        );
    }
    Ok(())
}
