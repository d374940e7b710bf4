//! Batches that are not done: what each still waits for.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgPool;

use super::WINDOW;

/// So many are told, the oldest ones: a batch that nobody sealed stays for ever.
const MOST: i64 = 20;

/// How a batch stands that is not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BatchStatus {
    /// What it was opened as.
    pub name: String,
    /// `open` while members are appended, `sealed` while they are handled.
    pub state: String,
    /// How many waves were sealed.
    pub wave: i32,
    /// When it was opened.
    pub opened_at: DateTime<Utc>,
    /// Members that some consumer has not read yet, and deliveries of it that are still tried; an
    /// estimate when there are many.
    pub remaining: i64,
    /// Members that are dead letters.
    pub dead: i64,
}

/// The members are counted in a window behind the last shard that has not passed the newest seal;
/// where they lie further apart, the rest is taken to be like the window.
pub(super) async fn unfinished(pool: &PgPool) -> Result<Vec<BatchStatus>, sqlx::Error> {
    sqlx::query_as!(
        BatchStatus,
        r#"
        -- status: batches
        with batch as materialized (
            select * from outbox.batch
            where state in ('open', 'sealed')
            order by opened_at limit $2
        ),
        behind as materialized (
            select batch.batch_id, reader.topics, reader.shards, number as shard,
                greatest(newest.id, batch.above_id) as id
            from batch
            join outbox.consumer as reader on case
                when batch.consumers is not null then reader.consumer = any (batch.consumers)
                else batch.wanted is null or reader.name = any (batch.wanted) end
            cross join generate_series(0, reader.shards - 1) as number
            cross join lateral (
                select tick, id from outbox.position
                where position.consumer = reader.consumer
                    and generation = reader.generation
                    and lane = batch.lane
                    and shard = number
                order by n desc limit 1
            ) as newest
            where (newest.tick, newest.id) >= (batch.seal_tick, batch.seal_id) is not true
        ),
        log_end as (select max(max_id) as id from (
            select max_id from outbox.tick order by n desc limit 64
        ) as late)
        select name, state, wave, opened_at,
            trouble.tried + case
                when seen.looked < $1 then seen.unread
                else seen.unread * greatest(coalesce(seal_id, log_end.id) - first.id, $1) / $1
            end as "remaining!",
            trouble.dead as "dead!"
        from batch
        cross join log_end
        cross join lateral (
            select min(id) as id from behind where behind.batch_id = batch.batch_id) as first
        cross join lateral (
            select count(*) as looked, count(*) filter (where is_unread) as unread
            from (
                select event.batch_id = batch.batch_id and exists (
                    select from behind
                    where behind.batch_id = batch.batch_id
                        and event.topic = any (behind.topics)
                        and event.part % behind.shards = behind.shard
                        and event.id > behind.id
                ) as is_unread
                from outbox.event
                where event.id > first.id
                order by event.id limit $1
            ) as late
        ) as seen
        cross join lateral (
            select count(*) filter (where delivery.state <> 'dead') as tried,
                count(*) filter (where delivery.state = 'dead') as dead
            from outbox.delivery where delivery.batch_id = batch.batch_id
        ) as trouble
        order by opened_at
        "#,
        WINDOW,
        MOST,
    )
    .fetch_all(pool)
    .await
}
