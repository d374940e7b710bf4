//! How far a batch has come, from the positions of those who read it.

use sqlx::PgPool;
use uuid::Uuid;

/// How a batch stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Members are appended.
    Open,
    /// Its members are being handled.
    Sealed,
    /// Done, and no member was given up.
    Succeeded,
    /// Done, and some members were given up.
    Failed,
}

/// How far a batch has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// What it was opened as.
    pub name: String,
    /// How it stands.
    pub state: State,
    /// How many waves were sealed.
    pub wave: i32,
    /// The consumers it waits for; none before it is sealed.
    pub readers: Vec<Reader>,
    /// Members in trouble that may still be handled.
    pub in_trouble: i64,
    /// Members that are dead letters.
    pub dead: i64,
}

/// How far a consumer has come in a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reader {
    /// The consumer's name.
    pub consumer: String,
    /// How much of the stretch of the log in which the members lie it has passed, in thousandths:
    /// from its positions, so near enough for a person. 1,000 when it has passed the newest seal.
    pub per_mille: i64,
}

/// How far a batch has come; nothing when there is none of this id.
///
/// # Errors
/// The database's.
pub async fn progress(pool: &PgPool, batch_id: Uuid) -> Result<Option<Progress>, sqlx::Error> {
    let row = sqlx::query!(
        r#"
        -- batch: how it stands
        select name, state, wave,
            (
                select count(*) from outbox.delivery
                where delivery.batch_id = batch.batch_id and delivery.state <> 'dead'
            ) as "in_trouble!",
            (
                select count(*) from outbox.delivery
                where delivery.batch_id = batch.batch_id and delivery.state = 'dead'
            ) as "dead!"
        from outbox.batch
        where batch_id = $1
        "#,
        batch_id,
    )
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Progress {
        name: row.name,
        state: match row.state.as_str() {
            "open" => State::Open,
            "sealed" => State::Sealed,
            "succeeded" => State::Succeeded,
            _ => State::Failed,
        },
        wave: row.wave,
        readers: readers(pool, batch_id).await?,
        in_trouble: row.in_trouble,
        dead: row.dead,
    }))
}

/// Ids between the opening and the seal stand for the stretch; before a shard has passed the seal
/// its id is not known, and the log's last one stands for it.
async fn readers(pool: &PgPool, batch_id: Uuid) -> Result<Vec<Reader>, sqlx::Error> {
    sqlx::query_as!(
        Reader,
        r#"
        -- batch: how far its consumers have come
        select reader.name as consumer, (sum(
            case
                when batch.state in ('succeeded', 'failed')
                    or (newest.tick, newest.id) >= (batch.seal_tick, batch.seal_id) then 1000
                else least(999, greatest(0, newest.id - above_id) * 1000
                    / greatest(1, coalesce(seal_id, last_value) - above_id))
            end
        ) / count(*))::bigint as "per_mille!"
        from outbox.batch
        cross join outbox.event_id
        join outbox.consumer as reader on reader.consumer = any (batch.consumers)
        cross join generate_series(0, reader.shards - 1) as number
        cross join lateral (
            select tick, id from outbox.position
            where position.consumer = reader.consumer
                and position.generation = reader.generation
                and position.lane = batch.lane
                and position.shard = number
            order by n desc
            limit 1
        ) as newest
        where batch_id = $1
        group by reader.name
        order by reader.name
        "#,
        batch_id,
    )
    .fetch_all(pool)
    .await
}
