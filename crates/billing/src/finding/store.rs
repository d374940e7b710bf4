//! The statements of findings.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{Finding, Standing};
use crate::check::Judged;

/// Locks how a check came out last, and answers what was told of it; nothing when somebody noted
/// what was seen later.
pub(super) async fn lock(
    tx: &mut PgConnection,
    code: &str,
    checked_at: DateTime<Utc>,
) -> Result<Option<Option<Finding>>, sqlx::Error> {
    sqlx::query!(
        "
        -- finding: a row for the check
        insert into billing.check_result (code, violations, rows, checked_at, took_ms)
        values ($1, 0, '[]', 'epoch', 0)
        on conflict (code) do nothing
        ",
        code,
    )
    .execute(&mut *tx)
    .await?;
    let known = sqlx::query!(
        "
        -- finding: lock what is known
        select finding_id, found_at, told, checked_at
        from billing.check_result
        where code = $1
        for update
        ",
        code,
    )
    .fetch_one(tx)
    .await?;
    if known.checked_at > checked_at {
        return Ok(None);
    }
    let finding = match (known.finding_id, known.found_at, known.told) {
        (Some(id), Some(found_at), Some(told)) => Some(Finding {
            id: id.into(),
            found_at,
            told,
        }),
        _ => None,
    };
    Ok(Some(finding))
}

pub(super) async fn write(
    tx: &mut PgConnection,
    judged: &Judged,
    rows: &Value,
    finding: Option<Finding>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "
        -- finding: write how a check came out
        update billing.check_result
        set violations = $2, rows = $3, checked_at = $4, took_ms = $5, finding_id = $6,
            found_at = $7, told = $8
        where code = $1
        ",
        judged.outcome.code,
        judged.outcome.violations,
        rows,
        judged.checked_at,
        i64::try_from(judged.took.as_millis()).unwrap_or(i64::MAX),
        finding.map(|finding| Uuid::from(finding.id)),
        finding.map(|finding| finding.found_at),
        finding.map(|finding| finding.told),
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// How many of the checks were looked at since an instant.
pub(super) async fn judged_since(
    connection: &mut PgConnection,
    codes: &[String],
    instant: DateTime<Utc>,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"
        -- finding: how many checks were looked at
        select count(*) as "judged!"
        from billing.check_result
        where code = any ($1) and checked_at >= $2
        "#,
        codes,
        instant,
    )
    .fetch_one(connection)
    .await
}

pub(super) async fn standings(
    pool: &PgPool,
    codes: &[String],
) -> Result<Vec<Standing>, sqlx::Error> {
    let rows = sqlx::query!(
        "
        -- finding: how the checks came out
        select code, violations, checked_at, took_ms
        from billing.check_result
        where code = any ($1)
        order by code
        ",
        codes,
    )
    .fetch_all(pool)
    .await?;
    let standings = rows.into_iter().map(|row| Standing {
        code: row.code,
        violations: row.violations,
        checked_at: row.checked_at,
        took: Duration::from_millis(row.took_ms.unsigned_abs()),
    });
    Ok(standings.collect())
}
