//! Pausing a consumer. Its processes ask the log several times a second, and begin nothing while it
//! is paused; what is in hand ends.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgPool;

use super::{By, OperationError, known};

/// Until when a consumer is paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Paused {
    /// Until somebody resumes it.
    UntilResumed,
    /// Until this instant, or until somebody resumes it sooner.
    Until(DateTime<Utc>),
}

/// Pauses a consumer in all processes, within a second; for some seconds, or until it is resumed.
/// Of two pauses the later one counts.
///
/// # Errors
/// [`OperationError`] says why not.
pub async fn pause(
    pool: &PgPool,
    name: &str,
    during: Option<Duration>,
    by: &By,
) -> Result<Paused, OperationError> {
    by.refuse_unsigned()?;
    let consumer = known(pool, name).await?;
    let seconds = during.map(|time| i64::try_from(time.as_secs()).unwrap_or(i64::MAX));
    if seconds == Some(0) {
        return Err(OperationError::NoPause);
    }
    // A thousand years are nobody's pause, and more than the server's calendar may hold.
    let seconds = seconds.map(|seconds| seconds.min(31_536_000_000));
    let until = sqlx::query_scalar!(
        r#"
        -- operation: pause
        with paused as (
            update outbox.consumer
            set paused_until =
                coalesce(clock_timestamp() + $2::bigint * interval '1 second', 'infinity')
            where consumer = $1
            returning nullif(paused_until, 'infinity') as until
        ),
        noted as (
            insert into outbox.operation (verb, consumer, actor, reason, told, changed)
            select 'pause', $1, $3, $4, jsonb_build_object('until', until), 1 from paused
        )
        select until from paused
        "#,
        consumer,
        seconds,
        by.actor,
        by.reason,
    )
    .fetch_one(pool)
    .await?;
    Ok(until.map_or(Paused::UntilResumed, Paused::Until))
}

/// Lets a paused consumer go on. False when it was not paused, and then nothing is noted.
///
/// # Errors
/// [`OperationError`] says why not.
pub async fn resume(pool: &PgPool, name: &str, by: &By) -> Result<bool, OperationError> {
    by.refuse_unsigned()?;
    let consumer = known(pool, name).await?;
    let resumed = sqlx::query!(
        "
        -- operation: resume
        with resumed as (
            update outbox.consumer set paused_until = null
            where consumer = $1 and paused_until > clock_timestamp()
            returning consumer
        )
        insert into outbox.operation (verb, consumer, actor, reason, told, changed)
        select 'resume', consumer, $2, $3, '{}', 1 from resumed
        ",
        consumer,
        by.actor,
        by.reason,
    )
    .execute(pool)
    .await?;
    Ok(resumed.rows_affected() == 1)
}

/// The consumers that are paused now, by name, and until when.
///
/// # Errors
/// The database's.
pub async fn paused(pool: &PgPool) -> Result<Vec<(String, Paused)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"
        -- operation: who is paused
        select name, nullif(paused_until, 'infinity') as until
        from outbox.consumer
        where paused_until > clock_timestamp()
        order by name
        "#
    )
    .fetch_all(pool)
    .await?;
    let rows = rows.into_iter();
    Ok(rows
        .map(|row| {
            (
                row.name,
                row.until.map_or(Paused::UntilResumed, Paused::Until),
            )
        })
        .collect())
}
