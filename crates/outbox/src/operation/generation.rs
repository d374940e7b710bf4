//! The end of a generation of positions: nobody goes on in it, however long he was frozen.

use sqlx::PgConnection;

use crate::position::CLOSED;

/// Closes a generation for good. The rows that follow the newest ones conflict with those that
/// their owners would write: either an owner's batch is committed and seen here, or it is lost.
pub(super) async fn close(
    tx: &mut PgConnection,
    consumer: i16,
    generation: i16,
) -> Result<(), sqlx::Error> {
    let mut open = 1;
    while open > 0 {
        open = sqlx::query_scalar!(
            r#"
            -- operation: close a generation
            with newest as (
                select distinct on (lane, shard) lane, shard, n, tick, id, passed, owner,
                    claim_until
                from outbox.position
                where consumer = $1 and generation = $2
                order by lane, shard, n desc
            ),
            fence as (
                insert into outbox.position
                    (consumer, generation, lane, shard, n, tick, id, passed, owner, claim_until)
                select $1, $2, lane, shard, n + 1, tick, id, passed, owner, claim_until
                from newest
                where n < $3
                on conflict do nothing
                returning lane, shard, tick, id, passed
            ),
            closed as (
                insert into outbox.position
                    (consumer, generation, lane, shard, n, tick, id, passed)
                select $1, $2, lane, shard, $3, tick, id, passed from fence
            )
            select count(*) filter (where n < $3) - (select count(*) from fence) as "open!"
            from newest
            "#,
            consumer,
            generation,
            CLOSED,
        )
        .fetch_one(&mut *tx)
        .await?;
    }
    Ok(())
}

/// For how many seconds somebody may still make calls for a shard; a claim whose owner fell silent
/// runs to its end, because one that is only frozen calls after all.
pub(super) async fn claimed_for(
    tx: &mut PgConnection,
    consumer: i16,
    generation: i16,
) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"
        -- operation: claims of a generation
        select max(ceil(extract(epoch from claim_until - clock_timestamp())))::bigint as seconds
        from (
            select distinct on (lane, shard) owner, claim_until
            from outbox.position
            where consumer = $1 and generation = $2 and n < $3
            order by lane, shard, n desc
        ) as newest
        where owner is not null and claim_until > clock_timestamp()
        "#,
        consumer,
        generation,
        CLOSED,
    )
    .fetch_one(tx)
    .await
}
