//! The statement of history.

use sqlx::PgPool;
use uuid::Uuid;

use super::Entry;

pub(super) async fn of_key(
    pool: &PgPool,
    key: Uuid,
    after: i64,
    limit: u32,
) -> Result<Vec<Entry>, sqlx::Error> {
    sqlx::query_as!(
        Entry,
        "
        -- history: events of a key
        select id, event_id, at, topic, payload as facts, actor, reason, request_id, caused_by
        from outbox.event
        where key = $1 and id > $2
        order by id
        limit $3
        ",
        key,
        after,
        i64::from(limit),
    )
    .fetch_all(pool)
    .await
}
