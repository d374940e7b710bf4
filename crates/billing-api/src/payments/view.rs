//! A payment as JSON.

use billing::ids::{AccountId, InvoiceId, PaymentId};
use billing::money::{Currency, Money};
use billing::payment::Summary;
use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use crate::problem::Problem;

/// A payment, or an attempt at one.
#[derive(Debug, Serialize)]
pub(crate) struct PaymentView {
    payment_id: PaymentId,
    account_id: AccountId,
    invoice_id: Option<InvoiceId>,
    kind: String,
    attempt: i32,
    gateway: Option<String>,
    currency: Currency,
    /// What was asked for.
    amount: String,
    amount_minor: i64,
    /// What came in.
    captured: Option<String>,
    captured_minor: Option<i64>,
    /// What of it settled the invoice; the rest went to the account's credit.
    applied: Option<String>,
    applied_minor: Option<i64>,
    /// What of it was given back.
    refunded: String,
    refunded_minor: i64,
    state: String,
    decline_code: Option<String>,
    note: Option<String>,
    created_at: DateTime<Utc>,
    settled_at: Option<DateTime<Utc>>,
}

impl PaymentView {
    pub(crate) fn of(payment: Summary) -> Result<Self, Problem> {
        let currency = Currency::parse(&payment.currency).map_err(Problem::broken)?;
        let decimal = |minor| Money::new(minor, currency).decimal();
        Ok(Self {
            payment_id: payment.payment_id,
            account_id: payment.account_id,
            invoice_id: payment.invoice_id,
            kind: payment.kind,
            attempt: payment.attempt,
            gateway: payment.gateway,
            currency,
            amount: decimal(payment.amount_minor),
            amount_minor: payment.amount_minor,
            captured: payment.captured_minor.map(decimal),
            captured_minor: payment.captured_minor,
            applied: payment.applied_minor.map(decimal),
            applied_minor: payment.applied_minor,
            refunded: decimal(payment.refunded_minor),
            refunded_minor: payment.refunded_minor,
            state: payment.state,
            decline_code: payment.decline_code,
            note: payment.note,
            created_at: payment.created_at,
            settled_at: payment.settled_at,
        })
    }

    pub(super) fn place(&self) -> String {
        Uuid::from(self.payment_id).to_string()
    }
}
