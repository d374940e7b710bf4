//! The statements of payments by hand.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::Capture;
use crate::ids::PaymentId;
use crate::money::{Currency, Money};
use crate::payment::{ByHand, PaymentError};

/// What recording a payment by hand came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// Which.
    pub payment: PaymentId,
    /// What of it settled the invoice.
    pub applied: Money,
    /// What went to the account's credit.
    pub excess: Money,
    /// Whether it is recorded by this call; else it was before, word for word the same.
    pub is_new: bool,
}

/// The same payment, if it was recorded before.
pub(in crate::payment) async fn recorded(
    tx: &mut PgConnection,
    by_hand: &ByHand,
) -> Result<Option<Recorded>, PaymentError> {
    let row = sqlx::query!(
        r#"
        -- payment: recorded before
        select currency, captured_minor as "captured!", applied_minor as "applied!",
            account_id = $2 and invoice_id is not distinct from $3 and currency = $4
                and amount_minor = $5 and note = $6 as "is_same!"
        from billing.payment
        where payment_id = $1 and kind = 'by_hand'
        "#,
        Uuid::from(by_hand.payment),
        Uuid::from(by_hand.account),
        by_hand.invoice.map(Uuid::from),
        by_hand.money.currency().code(),
        by_hand.money.minor(),
        by_hand.note,
    )
    .fetch_optional(tx)
    .await?;
    let Some(row) = row else { return Ok(None) };
    if !row.is_same {
        return Err(PaymentError::IdTaken(by_hand.payment));
    }
    let currency = Currency::parse(&row.currency)?;
    let (captured, applied) = (
        Money::new(row.captured, currency),
        Money::new(row.applied, currency),
    );
    Ok(Some(Recorded {
        payment: by_hand.payment,
        applied,
        excess: captured.sub(applied)?,
        is_new: false,
    }))
}

/// The account's lock keeps a second one of the same account out; an id of another's is refused.
pub(in crate::payment) async fn insert_by_hand(
    tx: &mut PgConnection,
    by_hand: &ByHand,
    (capture, event): (&Capture, Uuid),
    now: DateTime<Utc>,
) -> Result<(), PaymentError> {
    let inserted = sqlx::query!(
        "
        -- payment: record one by hand
        insert into billing.payment (
            payment_id, account_id, invoice_id, kind, attempt, currency, amount_minor, state,
            created_at, settled_at, captured_minor, applied_minor, note, succeeded_event,
            succeeded_xid
        )
        select $1, $2, $3, 'by_hand', coalesce(max(attempt), 0) + 1, $4, $5, 'succeeded',
            $6, $6, $5, $7, $8, $9, pg_current_xact_id()
        from billing.payment
        where invoice_id = $3
        on conflict (payment_id) do nothing
        ",
        Uuid::from(by_hand.payment),
        Uuid::from(by_hand.account),
        by_hand.invoice.map(Uuid::from),
        by_hand.money.currency().code(),
        by_hand.money.minor(),
        now,
        capture.applied.minor(),
        by_hand.note,
        event,
    )
    .execute(tx)
    .await?;
    match inserted.rows_affected() {
        0 => Err(PaymentError::IdTaken(by_hand.payment)),
        _ => Ok(()),
    }
}
