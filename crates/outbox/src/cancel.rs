//! Cancelling an event that was appended: who has not handled it passes over it.
//!
//! A consumer asks for the cancelled ones of its batch in the statement that asks for blocked keys,
//! so nothing is asked for more than once. Who has handled the event has handled it; a transaction
//! that is under way at that moment may still do so.
//!
//! Owns `outbox.cancelled`.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::append::UnitOfWork;

/// What cancelling an event came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// It was planned, and is not appended at all.
    BeforeItWasDue,
    /// Whoever has not handled it passes over it; `outbox.obsolete` tells who did.
    ForWhoIsToCome,
    /// It had been cancelled before.
    Already,
}

impl UnitOfWork {
    /// Cancels an event, with this unit of work: one that is planned is not appended, and one that
    /// was appended is passed over by each consumer that has not handled it, and tried no more
    /// where it is in trouble. `reason` must not be blank. The caller knows that the event exists:
    /// the log is not searched.
    ///
    /// # Errors
    /// The database's.
    pub async fn cancel(&mut self, event_id: Uuid, reason: &str) -> Result<Cancelled, sqlx::Error> {
        if self.cancel_timer(event_id).await? {
            return Ok(Cancelled::BeforeItWasDue);
        }
        let actor = self.origin().actor.clone();
        Ok(match note(self, event_id, &actor, reason).await? {
            true => Cancelled::ForWhoIsToCome,
            false => Cancelled::Already,
        })
    }
}

/// Notes that nobody is to handle an event any more, and calls the deliveries of it that wait, so
/// that their keys need not. False when it was cancelled before.
pub(crate) async fn note(
    tx: &mut PgConnection,
    event_id: Uuid,
    actor: &str,
    reason: &str,
) -> Result<bool, sqlx::Error> {
    let noted = sqlx::query!(
        "
        -- cancel: note
        with noted as (
            insert into outbox.cancelled (event_id, actor, reason) values ($1, $2, $3)
            on conflict (event_id) do nothing
            returning event_id
        ),
        called as (
            update outbox.delivery
            set state = 'retry', dead_reason = null, next_at = clock_timestamp()
            from noted
            where delivery.event_id = noted.event_id and state in ('retry', 'dead')
        )
        insert into outbox.operation (verb, actor, reason, told, changed)
        select 'cancel', $2, $3, jsonb_build_object('event', event_id), 1 from noted
        ",
        event_id,
        actor,
        reason,
    )
    .execute(tx)
    .await?;
    Ok(noted.rows_affected() == 1)
}

/// Why an event was cancelled, if it was.
pub(crate) async fn reason(
    tx: &mut PgConnection,
    event_id: Uuid,
) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"
        -- cancel: reason
        select concat('cancelled by ', actor, ': ', reason) as "reason!"
        from outbox.cancelled
        where event_id = $1
        "#,
        event_id,
    )
    .fetch_optional(tx)
    .await
}
