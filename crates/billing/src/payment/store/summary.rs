//! The statements that tell of payments.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::ids::{AccountId, InvoiceId, PaymentId};
use crate::payment::PaymentError;

/// A payment as people ask for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Its id.
    pub payment_id: PaymentId,
    /// Who pays.
    pub account_id: AccountId,
    /// For which invoice.
    pub invoice_id: Option<InvoiceId>,
    /// `card` or `by_hand`.
    pub kind: String,
    /// Which attempt for the invoice.
    pub attempt: i32,
    /// The gateway, of a card.
    pub gateway: Option<String>,
    /// ISO 4217.
    pub currency: String,
    /// What was asked for, in minor units.
    pub amount_minor: i64,
    /// What came in, in minor units.
    pub captured_minor: Option<i64>,
    /// What of it settled the invoice, in minor units.
    pub applied_minor: Option<i64>,
    /// What of it was given back, in minor units.
    pub refunded_minor: i64,
    /// `created`, `sent`, `unknown`, `succeeded`, `declined`, `cancelled` or `manual`.
    pub state: String,
    /// Why it was declined, in the gateway's words.
    pub decline_code: Option<String>,
    /// The last trouble, or what a person wrote.
    pub note: Option<String>,
    /// When it was decided.
    pub created_at: DateTime<Utc>,
    /// When it ended.
    pub settled_at: Option<DateTime<Utc>>,
}

/// The latest payments of an account, newest first; from the one after `after` on, if it is named.
///
/// # Errors
/// The database's.
pub async fn list(
    connection: &mut PgConnection,
    account: AccountId,
    after: Option<PaymentId>,
    limit: u32,
) -> Result<Vec<Summary>, sqlx::Error> {
    sqlx::query_as!(
        Summary,
        r#"
        -- payment: list
        select payment_id, account_id, invoice_id as "invoice_id: InvoiceId", kind, attempt,
            gateway, currency, amount_minor, captured_minor, applied_minor, state, decline_code,
            note, created_at, settled_at, (
                select coalesce(sum(refund.amount_minor), 0)::bigint from billing.refund
                where refund.payment_id = payment.payment_id and refund.state = 'succeeded'
            ) as "refunded_minor!"
        from billing.payment
        where account_id = $1
            and ($2::uuid is null or (created_at, payment_id) < (
                select created_at, payment_id from billing.payment where payment_id = $2
            ))
        order by created_at desc, payment_id desc
        limit $3
        "#,
        Uuid::from(account),
        after.map(Uuid::from),
        i64::from(limit),
    )
    .fetch_all(connection)
    .await
}

/// The payments for an invoice, first to last: a few attempts.
///
/// # Errors
/// The database's.
pub async fn of_invoice(
    connection: &mut PgConnection,
    invoice: InvoiceId,
) -> Result<Vec<Summary>, sqlx::Error> {
    sqlx::query_as!(
        Summary,
        r#"
        -- payment: of an invoice
        select payment_id, account_id, invoice_id as "invoice_id: InvoiceId", kind, attempt,
            gateway, currency, amount_minor, captured_minor, applied_minor, state, decline_code,
            note, created_at, settled_at, (
                select coalesce(sum(refund.amount_minor), 0)::bigint from billing.refund
                where refund.payment_id = payment.payment_id and refund.state = 'succeeded'
            ) as "refunded_minor!"
        from billing.payment
        where invoice_id = $1
        order by attempt
        "#,
        Uuid::from(invoice),
    )
    .fetch_all(connection)
    .await
}

pub(in crate::payment) async fn by_id(
    connection: &mut PgConnection,
    payment: PaymentId,
) -> Result<Option<Summary>, PaymentError> {
    let found = sqlx::query_as!(
        Summary,
        r#"
        -- payment: by id
        select payment_id, account_id, invoice_id as "invoice_id: InvoiceId", kind, attempt,
            gateway, currency, amount_minor, captured_minor, applied_minor, state, decline_code,
            note, created_at, settled_at, (
                select coalesce(sum(refund.amount_minor), 0)::bigint from billing.refund
                where refund.payment_id = payment.payment_id and refund.state = 'succeeded'
            ) as "refunded_minor!"
        from billing.payment
        where payment_id = $1
        "#,
        Uuid::from(payment),
    )
    .fetch_optional(connection)
    .await?;
    Ok(found)
}
