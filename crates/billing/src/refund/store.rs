//! The statements of refunds.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{NewRefund, RefundError, Sending, Summary};
use crate::gateway;
use crate::ids::{AccountId, PaymentId, RefundId};
use crate::money::{Currency, Money};
use crate::text;

/// A payment that succeeded, as far as refunds need to know.
pub(super) struct Payment {
    pub(super) is_by_hand: bool,
    /// What can still be given back.
    pub(super) left: Money,
}

/// A refund that has not ended, of a locked account.
pub(super) struct Known {
    pub(super) refund: RefundId,
    pub(super) payment: PaymentId,
    pub(super) account: AccountId,
    pub(super) money: Money,
    pub(super) is_by_hand: bool,
    /// What the payment left as credit and no refund took from there, in minor units.
    pub(super) excess: i64,
    pub(super) look_ups: i32,
}

/// Whose a payment is.
pub(super) async fn account(
    tx: &mut PgConnection,
    payment: PaymentId,
) -> Result<Option<AccountId>, sqlx::Error> {
    let found = sqlx::query_scalar!(
        "
        -- refund: whose payment
        select account_id from billing.payment where payment_id = $1
        ",
        Uuid::from(payment),
    )
    .fetch_optional(tx)
    .await?;
    Ok(found.map(AccountId::from))
}

/// What is left of a payment that succeeded. The account's lock keeps others from taking it.
pub(super) async fn payment(
    tx: &mut PgConnection,
    payment: PaymentId,
) -> Result<Option<Payment>, RefundError> {
    let row = sqlx::query!(
        r#"
        -- refund: what is left of a payment
        select kind, currency, captured_minor - (
            select coalesce(sum(refund.amount_minor), 0)::bigint from billing.refund
            where refund.payment_id = payment.payment_id and refund.state <> 'declined'
        ) as "left!"
        from billing.payment
        where payment_id = $1 and state = 'succeeded'
        "#,
        Uuid::from(payment),
    )
    .fetch_optional(tx)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Payment {
        is_by_hand: row.kind == "by_hand",
        left: Money::new(row.left, Currency::parse(&row.currency)?),
    }))
}

/// The refund of an id, if it was requested in these words.
pub(super) async fn requested(
    tx: &mut PgConnection,
    new: &NewRefund,
) -> Result<Option<Summary>, RefundError> {
    let found = sqlx::query_as!(
        Summary,
        "
        -- refund: requested before
        select refund_id, payment_id, account_id, currency, amount_minor, credit_minor, reason,
            state, note, created_at, settled_at
        from billing.refund
        where refund_id = $1
        ",
        Uuid::from(new.refund),
    )
    .fetch_optional(tx)
    .await?;
    match found {
        Some(refund)
            if (refund.payment_id, refund.amount_minor) != (new.payment, new.money.minor())
                || refund.currency != new.money.currency().code()
                || refund.reason != new.reason =>
        {
            Err(RefundError::IdTaken(new.refund))
        }
        found => Ok(found),
    }
}

/// The account's lock keeps a second one of the same account out; an id of another's is refused.
pub(super) async fn insert(
    tx: &mut PgConnection,
    new: &NewRefund,
    (account, event): (AccountId, Uuid),
    now: DateTime<Utc>,
) -> Result<(), RefundError> {
    let inserted = sqlx::query!(
        "
        -- refund: request
        insert into billing.refund (
            refund_id, payment_id, account_id, currency, amount_minor, reason, state, created_at,
            requested_event
        )
        values ($1, $2, $3, $4, $5, $6, 'created', $7, $8)
        on conflict (refund_id) do nothing
        ",
        Uuid::from(new.refund),
        Uuid::from(new.payment),
        Uuid::from(account),
        new.money.currency().code(),
        new.money.minor(),
        new.reason,
        now,
        event,
    )
    .execute(tx)
    .await?;
    match inserted.rows_affected() {
        0 => Err(RefundError::IdTaken(new.refund)),
        _ => Ok(()),
    }
}

fn uuids(refunds: &[RefundId]) -> Vec<Uuid> {
    refunds.iter().map(|refund| Uuid::from(*refund)).collect()
}

/// Refunds to cards that have not ended, with their states and what is needed to call.
pub(super) async fn lock_open(
    tx: &mut PgConnection,
    refunds: &[RefundId],
) -> Result<HashMap<RefundId, (String, Sending)>, RefundError> {
    let rows = sqlx::query!(
        r#"
        -- refund: to be sent
        select refund_id, refund.state, refund.currency, refund.amount_minor, refund.sent_at,
            gateway as "gateway!", payment.gateway_ref as "charge_ref!"
        from billing.refund
        join billing.payment using (payment_id)
        where refund_id = any ($1) and refund.state in ('created', 'sent', 'unknown')
        order by refund_id
        for update of refund
        "#,
        &uuids(refunds),
    )
    .fetch_all(tx)
    .await?;
    let open = rows.into_iter().map(|row| {
        let refund = RefundId::from(row.refund_id);
        let sending = Sending {
            gateway: row.gateway,
            refund: gateway::Refund {
                refund,
                charge_ref: row.charge_ref,
                money: Money::new(row.amount_minor, Currency::parse(&row.currency)?),
            },
            sent_at: row.sent_at,
        };
        Ok((refund, (row.state, sending)))
    });
    open.collect()
}

pub(super) async fn depart(
    tx: &mut PgConnection,
    refunds: &[RefundId],
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "
        -- refund: depart
        update billing.refund set state = 'sent', sent_at = $2
        where refund_id = any ($1) and state = 'created'
        ",
        &uuids(refunds),
        now,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Whose the refunds are.
pub(super) async fn accounts(
    tx: &mut PgConnection,
    refunds: &[RefundId],
) -> Result<Vec<AccountId>, sqlx::Error> {
    let ids = sqlx::query_scalar!(
        "
        -- refund: whose
        select account_id from billing.refund where refund_id = any ($1)
        ",
        &uuids(refunds),
    )
    .fetch_all(tx)
    .await?;
    Ok(ids.into_iter().map(AccountId::from).collect())
}

/// The refund, unless it has ended.
pub(super) async fn open(
    tx: &mut PgConnection,
    refund: RefundId,
) -> Result<Option<Known>, RefundError> {
    let row = sqlx::query!(
        r#"
        -- refund: as it stands
        select payment_id, refund.account_id, refund.currency, refund.amount_minor,
            refund.look_ups, kind = 'by_hand' as "is_by_hand!",
            captured_minor - applied_minor - (
                select coalesce(sum(other.credit_minor), 0)::bigint from billing.refund as other
                where other.payment_id = refund.payment_id
            ) as "excess!"
        from billing.refund
        join billing.payment using (payment_id)
        where refund_id = $1 and refund.state in ('created', 'sent', 'unknown')
        "#,
        Uuid::from(refund),
    )
    .fetch_optional(tx)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Known {
        refund,
        payment: row.payment_id.into(),
        account: row.account_id.into(),
        money: Money::new(row.amount_minor, Currency::parse(&row.currency)?),
        is_by_hand: row.is_by_hand,
        excess: row.excess,
        look_ups: row.look_ups,
    }))
}

pub(super) async fn succeed(
    tx: &mut PgConnection,
    refund: RefundId,
    (from_credit, gateway_ref, event): (Money, Option<&str>, Uuid),
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "
        -- refund: succeed
        update billing.refund
        set state = 'succeeded', settled_at = $2, credit_minor = $3, gateway_ref = $4,
            succeeded_event = $5, succeeded_xid = pg_current_xact_id()
        where refund_id = $1
        ",
        Uuid::from(refund),
        now,
        from_credit.minor(),
        gateway_ref,
        event,
    )
    .execute(tx)
    .await?;
    Ok(())
}

pub(super) async fn decline(
    tx: &mut PgConnection,
    refund: RefundId,
    why: &str,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "
        -- refund: decline
        update billing.refund set state = 'declined', settled_at = $2, note = $3
        where refund_id = $1
        ",
        Uuid::from(refund),
        now,
        text::mend(why),
    )
    .execute(tx)
    .await?;
    Ok(())
}

pub(super) async fn lose_sight(
    tx: &mut PgConnection,
    refund: RefundId,
    why: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "
        -- refund: unknown
        update billing.refund set state = 'unknown', note = $2, look_ups = look_ups + 1
        where refund_id = $1
        ",
        Uuid::from(refund),
        text::mend(why),
    )
    .execute(tx)
    .await?;
    Ok(())
}
