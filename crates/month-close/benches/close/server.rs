//! Where the server of a run stands.

use anyhow::Result;
use sqlx::PgConnection;

/// A moment in the life of a database.
pub(crate) struct Mark {
    /// Transactions from here on came later.
    pub(crate) xid: i64,
    wal: String,
}

/// A checkpoint, and where we are after it.
pub(crate) async fn mark(connection: &mut PgConnection) -> Result<Mark> {
    checkpoint(connection).await?;
    let (xid, wal) = sqlx::query_as(
        "select pg_snapshot_xmax(pg_current_snapshot())::text::bigint,
            pg_current_wal_insert_lsn()::text",
    )
    .fetch_one(connection)
    .await?;
    Ok(Mark { xid, wal })
}

pub(crate) async fn checkpoint(connection: &mut PgConnection) -> Result<()> {
    sqlx::query("checkpoint").execute(connection).await?;
    Ok(())
}

/// How much was written ahead since a moment, by whomever.
pub(crate) async fn wal_since(connection: &mut PgConnection, mark: &Mark) -> Result<u64> {
    let bytes: i64 = sqlx::query_scalar(
        "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), $1::text::pg_lsn)::bigint",
    )
    .bind(&mark.wal)
    .fetch_one(connection)
    .await?;
    Ok(bytes.unsigned_abs())
}
