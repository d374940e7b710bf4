//! Payments: how an invoice's money comes in, by card or by hand.
//!
//! A charge goes through four steps, and the world may change between any two of them:
//!
//! 1. **decide** under the account's lock, from the balance of now: credit is used first, and where
//!    nothing is left to charge, nothing is charged;
//! 2. **depart**: the world is read once more and the attempt marked as sent, with the instant
//!    until which its key is safe to use again;
//! 3. the call, which is not made here, with no transaction open; one that surely was not sent may
//!    **stay**, as if it had not departed;
//! 4. **settle**: what was captured is recorded whatever happened meanwhile; what is above the due
//!    amount goes to the account's credit.
//!
//! An attempt's id is our reference and the idempotency key of all its calls. While one is open
//! there is no second one for the invoice; one whose outcome is unknown is asked for, never retried
//! blindly. Nothing leaves a final state.
//!
//! Owns `billing.payment`, `billing.gateway_webhook`.
//! Emits `payment.succeeded`, `payment.declined`, `payment.overpaid`,
//! `payment.unresolved`, `payment.wanted`.

mod by_hand;
mod decide;
mod depart;
mod settle;
mod store;
mod webhook;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::credit::CreditError;
use crate::ids::{AccountId, InvoiceId, PaymentId};
use crate::ledger::PostError;
use crate::money::{Currency, Money, MoneyError};
use crate::owed::OwedError;
use crate::text::TextProblem;

pub use by_hand::{ByHand, record};
pub use decide::{ask_all, decide_all};
pub use depart::{depart_all, is_wanted, stay};
pub use settle::{Outcome, settle_all};
pub use store::{Recorded, Summary, list, of_invoice};
pub use webhook::{Received, receive};

/// An attempt to charge a card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Its id: our reference and the idempotency key.
    pub payment: PaymentId,
    /// Whose card.
    pub account: AccountId,
    /// For which invoice.
    pub invoice: InvoiceId,
    /// The gateway that knows the card.
    pub gateway: String,
    /// What it knows the card by.
    pub token: String,
    /// How much.
    pub money: Money,
    /// What the customer reads on the card's statement.
    pub description: String,
    /// When it was sent; none before.
    pub sent_at: Option<DateTime<Utc>>,
    /// Until then the same key may be sent again; none before it was sent.
    pub deadline: Option<DateTime<Utc>>,
}

/// What is to be done about an invoice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Let it depart, then call.
    Charge(Attempt),
    /// It was sent before and nobody knows the outcome: ask what became of it. Not found, what
    /// follows depends on the gateway.
    Ask(Attempt),
    /// Nothing; why.
    Nothing(String),
}

/// Why a payment could not go on.
#[derive(Debug, thiserror::Error)]
pub enum PaymentError {
    /// There is no such account.
    #[error("there is no account {0}")]
    NoAccount(AccountId),
    /// The account has no such invoice.
    #[error("the account has no invoice {0}")]
    NoInvoice(InvoiceId),
    /// There is no such payment.
    #[error("there is no payment {0}")]
    NoPayment(PaymentId),
    /// The id was given to another payment, or to this one in other words.
    #[error("there is another payment {0} already: choose a new id")]
    IdTaken(PaymentId),
    /// Zero or less.
    #[error("a payment is an amount above zero, not {0}")]
    Amount(Money),
    /// Another currency than the account's.
    #[error("the account is billed in {account}; a payment in {payment} has to be exchanged first")]
    Currency {
        /// The account's.
        account: Currency,
        /// The payment's.
        payment: Currency,
    },
    /// The note cannot be shown.
    #[error("the note {0}")]
    Note(TextProblem),
    /// An amount or a currency.
    #[error("could not add up a payment")]
    Money(#[from] MoneyError),
    /// The ledger refused.
    #[error("could not post a payment")]
    Post(#[from] PostError),
    /// Credit could not be used.
    #[error("could not use credit")]
    Credit(#[from] CreditError),
    /// An invoice could not be settled.
    #[error("could not settle an invoice")]
    Owed(#[from] OwedError),
    /// The database refused.
    #[error("could not read or write payments")]
    Database(#[from] sqlx::Error),
}

impl PaymentError {
    /// The database's own error, if that is what stands behind it.
    pub fn into_database(self) -> Result<sqlx::Error, Self> {
        match self {
            Self::Database(error)
            | Self::Owed(OwedError::Database(error))
            | Self::Post(PostError::Database(error))
            | Self::Credit(
                CreditError::Database(error)
                | CreditError::Post(PostError::Database(error))
                | CreditError::Owed(OwedError::Database(error)),
            ) => Ok(error),
            other => Err(other),
        }
    }
}

/// The payment of an id, if there is one.
///
/// # Errors
/// [`PaymentError`].
pub async fn by_id(
    connection: &mut PgConnection,
    payment: PaymentId,
) -> Result<Option<Summary>, PaymentError> {
    store::by_id(connection, payment).await
}
