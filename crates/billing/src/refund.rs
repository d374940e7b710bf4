//! Refunds: money given back of a payment, never above what was captured.
//!
//! A refund is **requested** under the account's lock, where what is left of the payment is
//! counted. It **departs** when it is marked as sent: nothing else in the world decides any more.
//! The call is not made here. **Settled** is what the gateway told, under the lock again; an
//! unknown outcome is asked for, never retried blindly. Its id is our reference and the idempotency
//! key of all calls.
//!
//! What a payment left as the customer's credit is given back from there, the rest at the house's
//! expense. The invoice stays paid. Money that came by hand is given back by hand, at once.
//!
//! Owns `billing.refund`.
//! Emits `refund.requested`, `refund.succeeded`, `refund.declined`, `refund.unresolved`.

mod settle;
mod store;

use chrono::{DateTime, Utc};
use outbox::{NewEvent, UnitOfWork, failpoint};
use serde::Serialize;
use serde_json::json;

use crate::account;
use crate::credit::CreditError;
use crate::gateway;
use crate::ids::{AccountId, PaymentId, RefundId};
use crate::ledger::PostError;
use crate::money::{Currency, Money, MoneyError};
use crate::text::{self, NOTE_CHARS_MAX, TextProblem};

pub use settle::{Outcome, settle_all};

/// A refund to be requested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRefund {
    /// Its id, chosen by who requests it, so that requesting it twice is once.
    pub refund: RefundId,
    /// Of which payment.
    pub payment: PaymentId,
    /// How much; above zero, in the payment's currency.
    pub money: Money,
    /// Why: one line, at most 500 characters.
    pub reason: String,
}

/// A refund as people ask for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Its id.
    pub refund_id: RefundId,
    /// Of which payment.
    pub payment_id: PaymentId,
    /// To whom.
    pub account_id: AccountId,
    /// ISO 4217.
    pub currency: String,
    /// How much, in minor units.
    pub amount_minor: i64,
    /// What of it was the customer's credit, in minor units; known when it succeeded.
    pub credit_minor: Option<i64>,
    /// Why.
    pub reason: String,
    /// `created`, `sent`, `unknown`, `succeeded` or `declined`.
    pub state: String,
    /// The last trouble, or why the gateway gives nothing back.
    pub note: Option<String>,
    /// When it was requested.
    pub created_at: DateTime<Utc>,
    /// When it ended.
    pub settled_at: Option<DateTime<Utc>>,
}

/// What requesting came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requested {
    /// The refund as it stands.
    pub refund: Summary,
    /// Whether it is requested by this call; else it was before, word for word the same.
    pub is_new: bool,
}

/// A call to a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sending {
    /// Which gateway.
    pub gateway: String,
    /// What it is asked for.
    pub refund: gateway::Refund,
    /// When it was sent first; none before.
    pub sent_at: Option<DateTime<Utc>>,
}

/// What is to be done about a refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Departure {
    /// It leaves now, for the first time.
    Send(Sending),
    /// It left before and nobody knows the outcome: ask what became of it. Not found, what follows
    /// depends on the gateway.
    Ask(Sending),
    /// Nothing; why.
    Nothing(&'static str),
}

/// Why a refund could not go on.
#[derive(Debug, thiserror::Error)]
pub enum RefundError {
    /// There is no such payment.
    #[error("there is no payment {0}")]
    NoPayment(PaymentId),
    /// No money came in by it, so none can go back.
    #[error("the payment {0} did not succeed: there is nothing to give back")]
    NotSucceeded(PaymentId),
    /// The id was given to another refund, or to this one in other words.
    #[error("there is another refund {0} already: choose a new id")]
    IdTaken(RefundId),
    /// Zero or less.
    #[error("a refund is an amount above zero, not {0}")]
    Amount(Money),
    /// More than what is left of the payment.
    #[error("only {left} of the payment can still be given back")]
    AboveCaptured {
        /// What was captured, less its refunds that were not declined.
        left: Money,
    },
    /// Another currency than the payment's.
    #[error("the payment was made in {payment}: it is given back in that currency")]
    Currency {
        /// The payment's.
        payment: Currency,
    },
    /// The reason cannot be shown.
    #[error("the reason {0}")]
    Reason(TextProblem),
    /// An amount or a currency.
    #[error("could not add up a refund")]
    Money(#[from] MoneyError),
    /// The ledger refused.
    #[error("could not post a refund")]
    Post(#[from] PostError),
    /// The account's credit could not be read.
    #[error("could not read credit")]
    Credit(#[from] CreditError),
    /// The database refused.
    #[error("could not read or write refunds")]
    Database(#[from] sqlx::Error),
}

impl RefundError {
    /// The database's own error, if that is what stands behind it.
    pub fn into_database(self) -> Result<sqlx::Error, Self> {
        match self {
            Self::Database(error)
            | Self::Post(PostError::Database(error))
            | Self::Credit(CreditError::Database(error)) => Ok(error),
            other => Err(other),
        }
    }
}

/// Requests a refund. Asked again in the same words, it is answered as it stands.
///
/// # Errors
/// [`RefundError`].
pub async fn request(
    tx: &mut UnitOfWork,
    new: NewRefund,
    now: DateTime<Utc>,
) -> Result<Requested, RefundError> {
    text::check(&new.reason, NOTE_CHARS_MAX).map_err(RefundError::Reason)?;
    if new.money.minor() <= 0 {
        return Err(RefundError::Amount(new.money));
    }
    let missing = || RefundError::NoPayment(new.payment);
    let account = store::account(tx, new.payment).await?.ok_or_else(missing)?;
    let locks = account::lock_all(tx, &[account]).await?;
    let locked = *locks.get(&account).ok_or_else(missing)?;
    if let Some(refund) = store::requested(tx, &new).await? {
        let is_new = false;
        return Ok(Requested { refund, is_new });
    }
    let is_by_hand = refuse_above(tx, &new).await?;
    let event = requested_event(&new, account);
    store::insert(tx, &new, (account, event.event_id), now).await?;
    failpoint!("refund.requested")?;
    tx.append(locked, event);
    if is_by_hand {
        settle::by_hand(tx, new.refund, now).await?;
    }
    let refund = store::requested(tx, &new).await?;
    let refund = refund.ok_or(RefundError::IdTaken(new.refund))?;
    let is_new = true;
    Ok(Requested { refund, is_new })
}

/// Refuses what the payment cannot give back; answers whether it came by hand.
async fn refuse_above(tx: &mut UnitOfWork, new: &NewRefund) -> Result<bool, RefundError> {
    let payment = store::payment(tx, new.payment).await?;
    let payment = payment.ok_or(RefundError::NotSucceeded(new.payment))?;
    let currency = payment.left.currency();
    if currency != new.money.currency() {
        return Err(RefundError::Currency { payment: currency });
    }
    if new.money.minor() > payment.left.minor() {
        return Err(RefundError::AboveCaptured { left: payment.left });
    }
    Ok(payment.is_by_hand)
}

fn requested_event(new: &NewRefund, account: AccountId) -> NewEvent {
    let payload = json!({
        "refund_id": new.refund,
        "payment_id": new.payment,
        "account_id": account,
        "currency": new.money.currency(),
        "amount_minor": new.money.minor(),
        "reason": new.reason,
    });
    NewEvent::new("refund.requested", 1, payload)
}

/// Marks refunds as sent, and tells what is to be done about each; one answer per entry, in their
/// order.
///
/// # Errors
/// [`RefundError`]; the unit of work is then of no more use.
pub async fn depart_all(
    tx: &mut UnitOfWork,
    refunds: &[RefundId],
    now: DateTime<Utc>,
) -> Result<Vec<Departure>, RefundError> {
    let mut open = store::lock_open(tx, refunds).await?;
    store::depart(tx, refunds, now).await?;
    failpoint!("refund.departing")?;
    let departures = refunds.iter().map(|refund| match open.remove(refund) {
        Some((state, sending)) if state == "created" => Departure::Send(sending),
        Some((_, sending)) => Departure::Ask(sending),
        None => Departure::Nothing("the refund has ended"),
    });
    Ok(departures.collect())
}
