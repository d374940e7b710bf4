//! Claiming a due delivery, and ending the claim. Every ending names owner and attempt, so that one
//! who was taken for dead cannot overwrite its successor's result.

use sqlx::PgPool;
use uuid::Uuid;

use super::{Row, blocked, legible};
use crate::append::{Origin, Outbox, UnitOfWork};
use crate::event::Event;
use crate::failpoint;
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
    let rows = sqlx::query_file_as!(
        Row,
        "src/delivery/claim.sql",
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
        failpoint!("delivery.done")?;
        if let Some(batch) = self.event.batch_id.filter(|_| is_ours) {
            tx.duties().look(batch);
        }
        Ok(is_ours)
    }

    /// Not handled: records how the attempt ended. False when the claim is no longer ours.
    pub(crate) async fn end(&self, outbox: &Outbox, ending: &Ending) -> Result<bool, sqlx::Error> {
        if let Ending::Retry { .. } = ending {
            return self.write_end(outbox.pool(), ending).await;
        }
        let mut tx = outbox.begin_worker(Origin::of("delivery")).await?;
        let is_ours = self.write_end(&mut *tx, ending).await?;
        failpoint!("delivery.given_up")?;
        blocked::unblock(&mut tx, self.consumer, self.event.key).await?;
        for batch in self.given_up(&mut tx).await? {
            tx.duties().look(batch);
        }
        tx.commit().await.map_err(|error| error.0)?;
        Ok(is_ours)
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
    ) -> Result<bool, sqlx::Error> {
        let (error, reason, wait_us, uncounted) = match ending {
            Ending::Retry {
                error,
                wait_us,
                counted,
            } => (error, None, Some(*wait_us), i32::from(!counted)),
            Ending::Dead { reason } => (reason, Some(reason), None, 0),
        };
        let reason = reason.map(|reason| legible(reason));
        let ended = sqlx::query!(
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
        Ok(ended.rows_affected() == 1)
    }
}
