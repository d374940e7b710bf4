//! How a check's statement is run.

use serde_json::Value;
use sqlx::{AssertSqlSafe, PgConnection, PgPool, PgTransaction, Row};

use super::ROWS_MAX;

/// One snapshot for all, memory for hash joins over millions of rows, and no compiler for them.
const BEGIN: &str = "begin isolation level repeatable read, read only; \
    set local jit = off; set local work_mem = '128MB'";

pub(super) async fn begin(pool: &PgPool) -> Result<PgTransaction<'static>, sqlx::Error> {
    pool.begin_with(BEGIN).await
}

/// The same beside people at work: a check has far more time than all of them took at a million
/// invoices, and who changes a table or drops a partition is not waited for. A statement whose
/// program has died ends within seconds.
const BEGIN_BOUNDED: &str = "begin isolation level repeatable read, read only; \
    set local jit = off; set local work_mem = '128MB'; \
    set local max_parallel_workers_per_gather = 0; \
    set local statement_timeout = '10min'; set local lock_timeout = '5s'; \
    set local client_connection_check_interval = '5s'";

pub(super) async fn begin_bounded(pool: &PgPool) -> Result<PgTransaction<'static>, sqlx::Error> {
    pool.begin_with(BEGIN_BOUNDED).await
}

/// Another transaction that sees exactly what the first one sees.
pub(super) async fn begin_beside(
    pool: &PgPool,
    first: &mut PgConnection,
) -> Result<PgTransaction<'static>, sqlx::Error> {
    let snapshot: String = sqlx::query_scalar("select pg_export_snapshot()")
        .fetch_one(first)
        .await?;
    let mut second = begin(pool).await?;
    // The name is made by the server, of hexadecimal digits and dashes.
    let same = AssertSqlSafe(format!("set transaction snapshot '{snapshot}'"));
    sqlx::raw_sql(same).execute(&mut *second).await?;
    Ok(second)
}

/// How many rows violate a check, and the first of them.
pub(super) async fn violations(
    tx: &mut PgConnection,
    check: &'static str,
) -> Result<(i64, Vec<Value>), sqlx::Error> {
    // The statement is a constant of this program; only its frame is made here.
    let framed = AssertSqlSafe(format!(
        "with violating as materialized (\n{check}\n)
        select (select count(*) from violating), array(
            select to_jsonb(violating) from violating limit {ROWS_MAX}
        )"
    ));
    let row = sqlx::query(framed).fetch_one(tx).await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}
