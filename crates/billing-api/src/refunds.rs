//! Refunds: money that is given back of a payment.

use axum::Extension;
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use billing::ids::{AccountId, PaymentId, RefundId};
use billing::money::{Currency, Money};
use billing::refund::{self, NewRefund, RefundError, Summary};
use chrono::{DateTime, Utc};
use outbox::Outbox;
use serde::{Deserialize, Serialize};

use crate::body::JsonBody;
use crate::caller::WhoAsks;
use crate::page::{self, chosen};
use crate::problem::Problem;
use crate::{amount, instant};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[serde(expecting = "an object with amount, currency, reason and maybe refund_id")]
pub(crate) struct RefundBody {
    refund_id: Option<String>,
    amount: String,
    currency: String,
    reason: String,
}

impl RefundBody {
    fn wanted(self, payment: PaymentId) -> Result<NewRefund, Problem> {
        Ok(NewRefund {
            refund: chosen("refund_id", self.refund_id.as_deref(), "ref_")?
                .map_or_else(RefundId::new, RefundId::from),
            payment,
            money: amount::told(&self.amount, &self.currency)?,
            reason: self.reason,
        })
    }
}

/// A refund as JSON.
#[derive(Debug, Serialize)]
pub(crate) struct RefundView {
    refund_id: RefundId,
    payment_id: PaymentId,
    account_id: AccountId,
    currency: Currency,
    amount: String,
    amount_minor: i64,
    /// What of it was the customer's credit.
    credit: Option<String>,
    credit_minor: Option<i64>,
    reason: String,
    state: String,
    note: Option<String>,
    created_at: DateTime<Utc>,
    settled_at: Option<DateTime<Utc>>,
}

impl RefundView {
    fn of(refund: Summary) -> Result<Self, Problem> {
        let currency = Currency::parse(&refund.currency).map_err(Problem::broken)?;
        let decimal = |minor| Money::new(minor, currency).decimal();
        Ok(Self {
            refund_id: refund.refund_id,
            payment_id: refund.payment_id,
            account_id: refund.account_id,
            currency,
            amount: decimal(refund.amount_minor),
            amount_minor: refund.amount_minor,
            credit: refund.credit_minor.map(decimal),
            credit_minor: refund.credit_minor,
            reason: refund.reason,
            state: refund.state,
            note: refund.note,
            created_at: refund.created_at,
            settled_at: refund.settled_at,
        })
    }
}

pub(crate) async fn request(
    State(outbox): State<Outbox>,
    Extension(caller): WhoAsks,
    id: Result<Path<String>, PathRejection>,
    JsonBody(body): JsonBody<RefundBody>,
) -> Result<(StatusCode, Json<RefundView>), Problem> {
    let Path(id) = id?;
    let missing = || Problem::not_found(format!("There is no payment {id:?}."));
    let payment = page::id(&id, "pay_").ok_or_else(missing)?;
    let wanted = body.wanted(payment.into())?;
    let mut tx = outbox.begin(caller.origin()).await?;
    let requested = refund::request(&mut tx, wanted, instant::now()).await?;
    let view = RefundView::of(requested.refund)?;
    tx.commit().await?;
    let status = if requested.is_new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, Json(view)))
}

impl From<RefundError> for Problem {
    fn from(error: RefundError) -> Self {
        match error {
            RefundError::NoPayment(_) => Self::not_found(error.to_string()),
            RefundError::IdTaken(_) | RefundError::NotSucceeded(_) => {
                Self::new(StatusCode::CONFLICT, error.to_string())
            }
            RefundError::Amount(_) | RefundError::AboveCaptured { .. } => {
                Self::invalid("amount", error)
            }
            RefundError::Currency { .. } => Self::invalid("currency", error),
            RefundError::Reason(_) => Self::invalid("reason", error),
            RefundError::Money(_)
            | RefundError::Post(_)
            | RefundError::Credit(_)
            | RefundError::Database(_) => match error.into_database() {
                Ok(error) => error.into(),
                Err(error) => Self::broken(error),
            },
        }
    }
}
