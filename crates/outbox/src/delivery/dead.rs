//! Dead letters: events that a consumer gave up on. People look at them, and try them again once
//! the cause is gone, or discard them.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::PgPool;
use sqlx::types::Json;
use uuid::Uuid;

use super::Row;
use crate::event::Event;
use crate::operation::{self, By, OperationError};

/// An event that a consumer gave up on.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// The consumer's name.
    pub consumer: String,
    /// The event.
    pub event: Event,
    /// How many attempts were made.
    pub attempt: i32,
    /// Why it is dead.
    pub reason: String,
    /// When it first came into trouble.
    pub parked_at: DateTime<Utc>,
}

/// Which dead letters: those that meet all that is said. The default is every one.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Choice {
    /// Of this consumer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumer: Option<String>,
    /// Of these events; of any when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Uuid>,
    /// Of this topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Of this ordering key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Uuid>,
    /// Whose reason contains this, in capitals or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// In trouble since this instant or a later one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime<Utc>>,
    /// In trouble since before this instant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
}

impl Choice {
    /// A consumer that is not there has no dead letters, which is no good news.
    async fn refuse_impossible(&self, pool: &PgPool) -> Result<(), OperationError> {
        if let Some(name) = &self.consumer {
            operation::known(pool, name).await?;
        }
        match (self.since, self.until) {
            (Some(since), Some(until)) if since >= until => {
                Err(OperationError::NoTimeBetween { since, until })
            }
            _ => Ok(()),
        }
    }
}

/// The chosen dead letters in the log's order, at most `limit`.
///
/// # Errors
/// [`OperationError`] says why not.
pub async fn list(
    pool: &PgPool,
    choice: &Choice,
    limit: i64,
) -> Result<Vec<DeadLetter>, OperationError> {
    choice.refuse_impossible(pool).await?;
    let rows = sqlx::query!(
        r#"
        -- dead letters: list
        select name as consumer, tick, id, event_id, topic, schema_version, key, part, lane, at,
            payload as "payload: Json<Box<RawValue>>", actor, reason, request_id, caused_by,
            batch_id, traceparent, attempt, dead_reason as "dead_reason!", parked_at
        from outbox.delivery
        join outbox.consumer using (consumer)
        where state = 'dead' and outbox.is_chosen(delivery, $1)
        order by tick, id, name
        limit $2
        "#,
        Json(choice) as _,
        limit,
    )
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| DeadLetter {
            consumer: row.consumer,
            attempt: row.attempt,
            reason: row.dead_reason,
            parked_at: row.parked_at,
            event: Row {
                tick: row.tick,
                id: row.id,
                event_id: row.event_id,
                topic: row.topic,
                schema_version: row.schema_version,
                key: row.key,
                part: row.part,
                lane: row.lane,
                at: row.at,
                payload: row.payload,
                actor: row.actor,
                reason: row.reason,
                request_id: row.request_id,
                caused_by: row.caused_by,
                batch_id: row.batch_id,
                traceparent: row.traceparent,
                attempt: row.attempt,
            }
            .into_event(),
        })
        .collect())
}

/// How many are chosen.
///
/// # Errors
/// [`OperationError`] says why not.
pub async fn count(pool: &PgPool, choice: &Choice) -> Result<i64, OperationError> {
    choice.refuse_impossible(pool).await?;
    let count = sqlx::query_scalar!(
        r#"
        -- dead letters: count
        select count(*) as "count!" from outbox.delivery
        where state = 'dead' and outbox.is_chosen(delivery, $1)
        "#,
        Json(choice) as _,
    )
    .fetch_one(pool)
    .await?;
    Ok(count)
}

/// Gives the chosen ones a new set of attempts, at most `per_second` of them becoming due in a
/// second, and says how many. A key's letters are tried in the log's order all the same.
///
/// # Errors
/// [`OperationError`] says why not.
pub async fn redrive(
    pool: &PgPool,
    choice: &Choice,
    per_second: Option<u32>,
    by: &By,
) -> Result<i64, OperationError> {
    by.refuse_unsigned()?;
    choice.refuse_impossible(pool).await?;
    let redriven = sqlx::query_scalar!(
        r#"
        -- dead letters: redrive
        with chosen as (
            select consumer, event_id, row_number() over (order by tick, id) - 1 as place
            from outbox.delivery
            where state = 'dead' and outbox.is_chosen(delivery, $1)
        ),
        redriven as (
            update outbox.delivery
            set state = 'retry', attempt = 0, dead_reason = null,
                next_at = statement_timestamp()
                    + coalesce(place * 1000000 / $2::bigint, 0) * interval '1 microsecond'
            from chosen
            where delivery.consumer = chosen.consumer and delivery.event_id = chosen.event_id
                and state = 'dead'
            returning 1
        ),
        noted as (
            insert into outbox.operation (verb, consumer, actor, reason, told, changed)
            select 'redrive',
                (select consumer from outbox.consumer where name = $1::jsonb ->> 'consumer'),
                $3, $4, $1::jsonb || jsonb_build_object('per_second', $2::bigint), count(*)
            from redriven
            having count(*) > 0
        )
        select count(*) as "redriven!" from redriven
        "#,
        Json(choice) as _,
        per_second.map(i64::from).filter(|rate| *rate > 0),
        by.actor,
        by.reason,
    )
    .fetch_one(pool)
    .await?;
    Ok(redriven)
}

/// Gives the chosen ones up for good, so that later events of their keys go on, and says how many.
/// Each leaves a line in `outbox.obsolete` that says who discarded it and why.
///
/// # Errors
/// [`OperationError`] says why not.
pub async fn discard(pool: &PgPool, choice: &Choice, by: &By) -> Result<i64, OperationError> {
    by.refuse_unsigned()?;
    choice.refuse_impossible(pool).await?;
    let discarded = sqlx::query_scalar!(
        r#"
        -- dead letters: discard
        with discarded as (
            delete from outbox.delivery
            where state = 'dead' and outbox.is_chosen(delivery, $1)
            returning consumer, event_id, key
        ),
        kept as (
            insert into outbox.obsolete (consumer, event_id, key, reason)
            select consumer, event_id, key, concat('discarded by ', $2::text, ': ', $3::text)
            from discarded
            on conflict (consumer, event_id) do nothing
        ),
        noted as (
            insert into outbox.operation (verb, consumer, actor, reason, told, changed)
            select 'discard',
                (select consumer from outbox.consumer where name = $1::jsonb ->> 'consumer'),
                $2, $3, $1::jsonb, count(*)
            from discarded
            having count(*) > 0
        )
        select count(*) as "discarded!" from discarded
        "#,
        Json(choice) as _,
        by.actor,
        by.reason,
    )
    .fetch_one(pool)
    .await?;
    Ok(discarded)
}
