//! Deliveries that are tried again: which, why, and when next.

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use uuid::Uuid;

use crate::operation::{self, OperationError};

/// A delivery that is tried again: the first of its key, for which the later ones wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retrying {
    /// The consumer's name.
    pub consumer: String,
    /// The event.
    pub event_id: Uuid,
    /// Its topic.
    pub topic: String,
    /// Its ordering key.
    pub key: Uuid,
    /// How many attempts were made that count.
    pub attempt: i32,
    /// When the next one is due; absent while one is under way.
    pub next_at: Option<DateTime<Utc>>,
    /// Why the last one failed.
    pub error: Option<String>,
    /// When it came into trouble.
    pub parked_at: DateTime<Utc>,
}

/// Those of a consumer, or of all: the ones that have been in trouble for longest, at most `limit`.
///
/// # Errors
/// [`OperationError::UnknownConsumer`], or the database's.
pub async fn retrying(
    pool: &PgPool,
    consumer: Option<&str>,
    limit: i64,
) -> Result<Vec<Retrying>, OperationError> {
    let id = match consumer {
        Some(name) => Some(operation::known(pool, name).await?),
        None => None,
    };
    let found = sqlx::query_as!(
        Retrying,
        r#"
        -- delivery: those that are tried again
        select name as consumer, event_id, topic, key, attempt,
            case when delivery.state = 'retry' then delivery.next_at end as next_at,
            delivery.last_error as error, parked_at
        from outbox.delivery
        join outbox.head using (consumer, event_id)
        join outbox.consumer using (consumer)
        where consumer = coalesce($1, consumer)
        order by parked_at, tick, id
        limit $2
        "#,
        id,
        limit,
    )
    .fetch_all(pool)
    .await?;
    Ok(found)
}
