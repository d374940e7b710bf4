//! Claiming a due delivery, and ending the claim. Every ending names owner and attempt, so that one
//! who was taken for dead cannot overwrite its successor's result.

use sqlx::PgPool;
use uuid::Uuid;

use super::{Row, blocked, legible};
use crate::append::{Origin, Outbox, UnitOfWork};
use crate::event::Event;
use crate::member::Claimant;

/// A delivery that is ours until its deadline.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) consumer: i16,
    pub(crate) owner: Uuid,
    pub(crate) attempt: i32,
    pub(crate) event: Event,
}

/// How an attempt ended, for [`Claim::end`].
#[derive(Debug)]
pub(crate) enum Ending {
    /// Tried again after so many microseconds; an attempt that was not the event's fault is not
    /// counted.
    Retry {
        error: String,
        wait_us: i64,
        counted: bool,
    },
    Dead {
        reason: String,
    },
}

/// Claims due heads: a key's lowest open row whose time has come, or whose owner let its deadline
/// pass, or fell silent if the claimant may succeed it, or is the claimant itself, which has it not
/// in hand.
pub(crate) async fn due(
    pool: &PgPool,
    claimant: Claimant,
    in_hand: &[Uuid],
    limit: i64,
) -> Result<Vec<Claim>, sqlx::Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        -- delivery: claim due heads
        with recursive instant as materialized (select clock_timestamp() as now),
        -- The first of each key that was not tried, from key to key.
        untried as (
            (
                select key, event_id
                from outbox.delivery
                where consumer = $1 and state = 'retry' and last_error is null
                order by key, tick, id
                limit 1
            )
            union all
            select next.key, next.event_id
            from untried
            cross join lateral (
                select key, event_id
                from outbox.delivery
                where consumer = $1 and state = 'retry' and last_error is null
                    and key > untried.key
                order by key, tick, id
                limit 1
            ) as next
        ),
        -- Some more than are wanted: others may be claiming them.
        candidate as materialized (
            (
                select event_id
                from outbox.head
                where consumer = $1 and state = 'retry' and last_error is not null
                    and next_at <= (select now from instant)
                order by next_at
                limit 4 * $4::bigint
            )
            union all
            (
                select head.event_id
                from untried
                cross join lateral (
                    select event_id
                    from outbox.head
                    where consumer = $1 and head.event_id = untried.event_id
                    offset 0
                ) as head
                limit 4 * $4::bigint
            )
            union all
            select event_id from outbox.head where consumer = $1 and state = 'running'
        ),
        -- Who is silent itself, as all are when the database was away, takes nobody for dead.
        live as materialized (
            select member
            from outbox.member
            where consumer = $1 and heartbeat > clock_timestamp() - interval '6 seconds'
        ),
        due as (
            select event_id
            from outbox.delivery as head
            where consumer = $1 and event_id in (select event_id from candidate)
                and ((state = 'retry' and next_at <= clock_timestamp())
                    or (state = 'running' and (
                        deadline < clock_timestamp()
                        or (owner = $2 and event_id <> all ($6))
                        or ($5 and $2 in (select member from live)
                            and owner not in (select member from live))
                    )))
            limit $4::bigint
            for update skip locked
        )
        update outbox.delivery as claimed
        set state = 'running', attempt = attempt + 1, owner = $2, next_at = null,
            deadline = clock_timestamp() + make_interval(secs => $3::int)
        from due
        where claimed.consumer = $1 and claimed.event_id = due.event_id
        returning claimed.tick, claimed.id, claimed.event_id, claimed.topic,
            claimed.schema_version, claimed.key, claimed.part, claimed.lane, claimed.at,
            claimed.payload as "payload: _", claimed.actor, claimed.reason, claimed.request_id,
            claimed.caused_by, claimed.batch_id, claimed.traceparent, claimed.attempt
        "#,
        claimant.consumer,
        claimant.member,
        claimant.seconds,
        limit,
        claimant.succeeds_silent,
        in_hand,
    )
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Claim {
            consumer: claimant.consumer,
            owner: claimant.member,
            attempt: row.attempt,
            event: row.into_event(),
        })
        .collect())
}

/// Gives back the deliveries that `owner` still claims: it makes no more calls, and its stop is no
/// attempt.
pub(crate) async fn release(pool: &PgPool, owner: Uuid) -> Result<u64, sqlx::Error> {
    let released = sqlx::query!(
        "
        -- delivery: release
        update outbox.delivery
        set state = 'retry', attempt = attempt - 1, owner = null, deadline = null,
            next_at = clock_timestamp()
        where state = 'running' and owner = $1
        ",
        owner,
    )
    .execute(pool)
    .await?;
    Ok(released.rows_affected())
}

impl Claim {
    /// Handled: removes the row. False when the claim is no longer ours.
    pub(crate) async fn done(&self, tx: &mut UnitOfWork) -> Result<bool, sqlx::Error> {
        let removed = sqlx::query!(
            "
            -- delivery: done
            delete from outbox.delivery
            where consumer = $1 and event_id = $2 and owner = $3 and attempt = $4
            ",
            self.consumer,
            self.event.event_id,
            self.owner,
            self.attempt,
        )
        .execute(&mut **tx)
        .await?;
        let is_ours = removed.rows_affected() == 1;
        blocked::unblock(tx, self.consumer, self.event.key).await?;
        if let Some(batch) = self.event.batch_id.filter(|_| is_ours) {
            tx.duties().look(batch);
        }
        Ok(is_ours)
    }

    /// Not handled: records how the attempt ended.
    pub(crate) async fn end(&self, outbox: &Outbox, ending: &Ending) -> Result<(), sqlx::Error> {
        if let Ending::Retry { .. } = ending {
            return self.write_end(outbox.pool(), ending).await;
        }
        let mut tx = outbox.begin_worker(Origin::of("delivery")).await?;
        self.write_end(&mut *tx, ending).await?;
        blocked::unblock(&mut tx, self.consumer, self.event.key).await?;
        for batch in self.given_up(&mut tx).await? {
            tx.duties().look(batch);
        }
        tx.commit().await.map(drop).map_err(|error| error.0)
    }

    /// The batches of this event and of those that wait behind it.
    async fn given_up(&self, tx: &mut UnitOfWork) -> Result<Vec<Uuid>, sqlx::Error> {
        sqlx::query_scalar!(
            r#"
            -- delivery: batches of a dead letter's key
            select distinct batch_id as "batch_id!"
            from outbox.delivery
            where consumer = $1 and key = $2 and batch_id is not null
            "#,
            self.consumer,
            self.event.key,
        )
        .fetch_all(&mut **tx)
        .await
    }

    async fn write_end(
        &self,
        db: impl sqlx::PgExecutor<'_>,
        ending: &Ending,
    ) -> Result<(), sqlx::Error> {
        let (error, reason, wait_us, uncounted) = match ending {
            Ending::Retry {
                error,
                wait_us,
                counted,
            } => (error, None, Some(*wait_us), i32::from(!counted)),
            Ending::Dead { reason } => (reason, Some(reason), None, 0),
        };
        let reason = reason.map(|reason| legible(reason));
        sqlx::query!(
            "
            -- delivery: end an attempt
            update outbox.delivery
            set state = case when $5::text is null then 'retry' else 'dead' end,
                attempt = attempt - $8, owner = null, deadline = null,
                last_error = $6, dead_reason = $5,
                next_at = clock_timestamp() + $7::bigint * interval '1 microsecond'
            where consumer = $1 and event_id = $2 and owner = $3 and attempt = $4
            ",
            self.consumer,
            self.event.event_id,
            self.owner,
            self.attempt,
            reason.as_deref(),
            &*legible(error),
            wait_us,
            uncounted,
        )
        .execute(db)
        .await?;
        Ok(())
    }
}
