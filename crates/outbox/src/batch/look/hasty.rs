//! The mutant [`crate::mutant::Mutant::BatchInOneStatement`]: the look of [`super::wave_done`] that
//! takes the lock of the batch's row itself. What it reads beside that row is as old as the
//! statement: of two that come last at once, the one that waited has not seen the other's fact.

use sqlx::PgConnection;
use uuid::Uuid;

use super::WaveDone;

pub(super) async fn wave_done(
    tx: &mut PgConnection,
    batch: Uuid,
) -> Result<Option<WaveDone>, sqlx::Error> {
    sqlx::query_as!(
        WaveDone,
        r#"
        -- batch: lock and look in one statement
        with asked as materialized (
            select * from outbox.batch
            where batch_id = $1 and state = 'sealed' and seal_tick is not null
            for update
        ),
        trouble as materialized (
            select delivery.state = 'dead' or (policy.on_dead = 'halt' and exists (
                select from outbox.delivery as earlier
                where earlier.consumer = delivery.consumer
                    and earlier.key = delivery.key
                    and (earlier.tick, earlier.id) < (delivery.tick, delivery.id)
                    and earlier.state = 'dead'
            )) as is_given_up
            from asked
            join outbox.delivery using (batch_id)
            join outbox.consumer as policy on policy.consumer = delivery.consumer
            where delivery.consumer = any (asked.consumers)
        )
        select asked.wave,
            exists (
                select from outbox.batch_wave as next
                where next.batch_id = asked.batch_id and next.wave = asked.wave + 1
            ) as "has_next!",
            exists (select from trouble) as "has_failed!"
        from asked
        where not exists (select from trouble where not is_given_up)
            and not exists (
                select from outbox.consumer as reader
                cross join generate_series(0, reader.shards - 1) as number
                cross join lateral (
                    select tick, id from outbox.position
                    where position.consumer = reader.consumer
                        and position.generation = reader.generation
                        and position.lane = asked.lane
                        and position.shard = number
                    order by n desc
                    limit 1
                ) as newest
                where reader.consumer = any (asked.consumers)
                    and (newest.tick, newest.id) < (asked.seal_tick, asked.seal_id)
            )
        "#,
        batch,
    )
    .fetch_optional(tx)
    .await
}
