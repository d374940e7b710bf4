//! Whether a batch is done: asked when a position passes its seal, and when a delivery of it is no
//! longer open.
//!
//! Three statements of a READ COMMITTED transaction: the own fact, the lock of the batch's row, and
//! only then the look. Of two that come last at once, one waits for the other's commit and then
//! looks with a snapshot that holds both facts. In one statement, or without the lock, each would
//! miss the other's fact, and the batch would never be done.

use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use uuid::Uuid;

use super::SEALED;
use crate::event::{Event, Lane, LogPoint, NewEvent};
use crate::failpoint;
use crate::mutant::{self, Mutant};

mod hasty;

/// A seal that was passed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seal {
    pub(crate) wave: i32,
    pub(crate) point: LogPoint,
}

impl Seal {
    /// What the event of a seal says.
    pub(crate) fn of(event: &Event) -> Result<Self, serde_json::Error> {
        let Facts { wave } = event.payload.read()?;
        let point = event.point;
        Ok(Self { wave, point })
    }
}

/// The facts of a seal's event.
#[derive(Debug, Serialize, Deserialize)]
struct Facts {
    wave: i32,
}

/// The first seal of a batch.
pub(crate) fn first_seal() -> NewEvent {
    NewEvent::new(SEALED, 1, serde_json::json!(Facts { wave: 1 }))
}

pub(super) async fn join(
    tx: &mut PgConnection,
    batch: Uuid,
    lane: Lane,
    follows: bool,
) -> Result<(), sqlx::Error> {
    if mutant::is(Mutant::MemberAfterSeal) {
        return Ok(());
    }
    sqlx::query!(
        r#"-- batch: take part
        select outbox.join_batch($1, $2, $3) as "joined: ()""#,
        batch,
        lane.code(),
        follows,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Members of this very transaction are behind the lock of the seal, not beside it.
pub(super) async fn seal(
    tx: &mut PgConnection,
    batch: Uuid,
    has_members: bool,
    lane: Lane,
) -> Result<(), sqlx::Error> {
    lock(tx, batch).await?;
    failpoint!("batch.locked")?;
    if has_members {
        join(tx, batch, lane, false).await?;
    }
    sqlx::query!(
        r#"-- batch: seal
        select outbox.seal_batch($1) as "sealed: ()""#,
        batch,
    )
    .execute(tx)
    .await?;
    Ok(())
}

pub(super) async fn lock(tx: &mut PgConnection, batch: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "
        -- batch: lock
        select state from outbox.batch where batch_id = $1 for update
        ",
        batch,
    )
    .fetch_optional(tx)
    .await?;
    Ok(())
}

/// The place of a seal is known when the first position has passed it, with that position.
pub(super) async fn note(
    tx: &mut PgConnection,
    batch: Uuid,
    seal: Seal,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "
        -- batch: note the place of its seal
        update outbox.batch
        set seal_tick = $3, seal_id = $4
        where batch_id = $1 and wave = $2 and state = 'sealed' and seal_tick is null
        ",
        batch,
        seal.wave,
        seal.point.tick,
        seal.point.id,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Goes on with a batch whose newest wave is done: seals the next wave, or ends the batch. Answers
/// how many events were appended. The caller holds the lock of the batch's row.
pub(super) async fn look(tx: &mut PgConnection, batch: Uuid) -> Result<u64, sqlx::Error> {
    let done = if mutant::is(Mutant::BatchInOneStatement) {
        hasty::wave_done(tx, batch).await?
    } else {
        wave_done(tx, batch).await?
    };
    let Some(done) = done else {
        return Ok(0);
    };
    if done.has_next {
        seal_next(tx, batch, done.wave + 1).await
    } else {
        end(tx, batch, done.has_failed).await
    }
}

struct WaveDone {
    wave: i32,
    has_next: bool,
    has_failed: bool,
}

/// A delivery behind a dead letter that halts its key is as good as given up: nobody will try it
/// unless a person decides.
async fn wave_done(tx: &mut PgConnection, batch: Uuid) -> Result<Option<WaveDone>, sqlx::Error> {
    sqlx::query_as!(
        WaveDone,
        r#"
        -- batch: look whether its wave is done
        with asked as materialized (
            select * from outbox.batch
            where batch_id = $1 and state = 'sealed' and seal_tick is not null
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

async fn seal_next(tx: &mut PgConnection, batch: Uuid, wave: i32) -> Result<u64, sqlx::Error> {
    let facts = serde_json::json!(Facts { wave });
    let appended = sqlx::query!(
        "
        -- batch: seal its next wave
        with sealed as (
            update outbox.batch
            set wave = $2, seal_tick = null, seal_id = null
            where batch_id = $1
            returning batch_id, part, lane, actor, reason, request_id, caused_by, traceparent
        )
        insert into outbox.event (
            event_id, topic, schema_version, key, part, payload, batch_id,
            lane, actor, reason, request_id, caused_by, traceparent
        )
        select $3, $4, 1, batch_id, part, $5::text::json, batch_id,
            lane, actor, reason, request_id, caused_by, traceparent
        from sealed
        ",
        batch,
        wave,
        crate::ids::new(),
        SEALED,
        facts.to_string(),
    )
    .execute(tx)
    .await?;
    Ok(appended.rows_affected())
}

/// Terminal stays terminal: only a sealed batch ends. The callbacks are no members.
async fn end(tx: &mut PgConnection, batch: Uuid, failed: bool) -> Result<u64, sqlx::Error> {
    let appended = sqlx::query!(
        "
        -- batch: end
        with done as (
            update outbox.batch
            set state = case when $2 then 'failed' else 'succeeded' end,
                done_at = clock_timestamp()
            where batch_id = $1 and state = 'sealed'
            returning batch_id, state, part, lane, actor, reason, request_id, caused_by,
                traceparent
        )
        insert into outbox.event (
            event_id, topic, schema_version, key, part, payload,
            lane, actor, reason, request_id, caused_by, traceparent
        )
        select event_id, topic, schema_version, batch_id, part, payload,
            lane, actor, reason, request_id, caused_by, traceparent
        from done
        join outbox.batch_callback using (batch_id)
        where outcome in (state, 'completed')
        order by outcome desc
        ",
        batch,
        failed,
    )
    .execute(tx)
    .await?;
    Ok(appended.rows_affected())
}
