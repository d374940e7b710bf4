//! Gateway: what billing asks of whoever moves the money of cards.
//!
//! A call ends in one of three ways, and an adapter's whole art is to tell them apart: an answer,
//! a failure before anything was sent, or not knowing. Only the second may be tried again as if
//! nothing had happened; after the third the gateway is asked what it did.
//!
//! Nothing here speaks HTTP: a second gateway is a second implementation of [`Gateway`].

mod capabilities;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::BoxFuture;
use outbox::{Locked, NewEvent, UnitOfWork};

use crate::ids::{PaymentId, RefundId};
use crate::money::Money;
pub use capabilities::{Capabilities, ON_ITS_WAY_MAX, Silence, Step};

/// A charge to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// Our reference, and the idempotency key: whatever happens, it stays the same.
    pub payment: PaymentId,
    /// What the gateway knows the card by.
    pub token: String,
    /// How much.
    pub money: Money,
    /// What the customer reads on the card's statement.
    pub description: String,
}

/// Money to be given back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refund {
    /// Our reference, and the idempotency key: whatever happens, it stays the same.
    pub refund: RefundId,
    /// The gateway's own name of the charge that it is given back of.
    pub charge_ref: String,
    /// How much.
    pub money: Money,
}

/// What became of a refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefundVerdict {
    /// It was given back: so much.
    GivenBack {
        /// The gateway's own name of the refund.
        gateway_ref: String,
        /// How much.
        money: Money,
    },
    /// Nothing was and nothing will be; why, in the gateway's words.
    Declined(String),
}

/// What became of a charge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Money was taken: so much, which need not be what was asked for.
    Captured {
        /// The gateway's own name of the charge.
        gateway_ref: String,
        /// How much was taken.
        money: Money,
    },
    /// None was taken.
    Declined {
        /// The gateway's own name of the charge, if it keeps one.
        gateway_ref: Option<String>,
        /// Why, in the gateway's words: `do_not_honor`.
        code: String,
        /// Whether the same card may pay later.
        is_soft: bool,
    },
}

/// Why there is no verdict.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The gateway cannot have seen it: no connection came to be. The same call may be made again.
    #[error("the gateway cannot be reached: {0}")]
    NotSent(String),
    /// The gateway said that it did nothing, for no reason of this payment's: it wants to be asked
    /// later, or does not let us in.
    #[error("the gateway is busy: {error}")]
    Busy {
        /// What it said.
        error: String,
        /// When it wants to be asked again.
        after: Option<Duration>,
    },
    /// It may have happened or not: no answer came, or none that says.
    #[error("the outcome is unknown: {0}")]
    Unknown(String),
    /// The key was burnt before: nothing happened, and nothing ever will.
    #[error("the payment was cancelled before it was made")]
    Cancelled,
    /// The gateway does not understand us; asking again cannot help.
    #[error("the gateway refused the request: {0}")]
    Refused(String),
}

/// What became of a key that was to be burnt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cancelled {
    /// It was not used, and never will be.
    Burnt,
    /// It had been used.
    Was(Verdict),
}

/// A movement of money on the gateway's statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Movement {
    /// Its number; they increase.
    pub seq: i64,
    /// When.
    pub at: DateTime<Utc>,
    /// Our reference, as the gateway keeps it.
    pub reference: String,
    /// The gateway's own name of the charge.
    pub gateway_ref: String,
    /// Taken from the card; negative where it was given back.
    pub money: Money,
}

/// A webhook that proved whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// The gateway's own name of it, the same when it is sent again.
    pub id: String,
    /// The payment it tells of; none when the reference is not one of ours.
    pub payment: Option<PaymentId>,
    /// What became of it; none when it tells of something else.
    pub verdict: Option<Verdict>,
}

/// Why a webhook was not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// The signature is missing, wrong or old.
    #[error("the webhook does not prove whose it is: {0}")]
    Forged(String),
    /// It is genuine and cannot be read.
    #[error("the webhook cannot be read: {0}")]
    Unreadable(String),
}

/// Somebody who moves the money of cards.
pub trait Gateway: Send + Sync + 'static {
    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// Makes a charge. The same payment again gives the first verdict again, for as long as its
    /// key lives; after that it may be charged anew.
    fn charge<'a>(&'a self, charge: &'a Charge) -> BoxFuture<'a, Result<Verdict, CallError>>;

    /// Asks what became of a payment. Nothing found proves nothing: it may still be on its way.
    fn look_up(&self, payment: PaymentId) -> BoxFuture<'_, Result<Option<Verdict>, CallError>>;

    /// Makes sure that a payment will never happen, or tells what became of it.
    fn cancel(&self, payment: PaymentId) -> BoxFuture<'_, Result<Cancelled, CallError>>;

    /// Gives money back. The same refund again gives the first verdict again, for as long as its
    /// key lives.
    fn refund<'a>(&'a self, refund: &'a Refund) -> BoxFuture<'a, Result<RefundVerdict, CallError>>;

    /// Asks what became of a refund. Nothing found proves nothing: it may still be on its way.
    fn look_up_refund(
        &self,
        refund: RefundId,
    ) -> BoxFuture<'_, Result<Option<RefundVerdict>, CallError>>;

    /// The movements after a number, in order; at most a page of them, none after the last.
    fn statement(&self, after: i64) -> BoxFuture<'_, Result<Vec<Movement>, CallError>>;

    /// Reads a webhook from its raw bytes, if its headers prove it. `header` finds one by its name
    /// in lower case.
    ///
    /// # Errors
    /// [`WebhookError`].
    fn webhook(
        &self,
        header: &dyn Fn(&str) -> Option<String>,
        body: &[u8],
        now: DateTime<Utc>,
    ) -> Result<Webhook, WebhookError>;
}

/// How long until an unknown outcome is asked for again, by how often it was: the first time at
/// once, then ever more rarely.
const LOOK_UP_AFTER: [TimeDelta; 5] = [
    TimeDelta::zero(),
    TimeDelta::seconds(10),
    TimeDelta::minutes(1),
    TimeDelta::minutes(10),
    TimeDelta::hours(1),
];

/// Plans the next question about an unknown outcome that was asked for so often before.
pub(crate) fn ask_again(
    tx: &mut UnitOfWork,
    (locked, question): (Locked, NewEvent),
    look_ups: i32,
    now: DateTime<Utc>,
) {
    let nth = usize::try_from(look_ups).unwrap_or(usize::MAX);
    match LOOK_UP_AFTER[nth.min(LOOK_UP_AFTER.len() - 1)] {
        at_once if at_once.is_zero() => tx.append(locked, question),
        later => tx.append_at(locked, now + later, question),
    };
}

/// The gateways in use, by the name that payment methods carry.
#[derive(Clone, Default)]
pub struct Gateways(BTreeMap<String, Arc<dyn Gateway>>);

impl Gateways {
    /// Adds one.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, gateway: Arc<dyn Gateway>) -> Self {
        self.0.insert(name.into(), gateway);
        self
    }

    /// The one of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<dyn Gateway>> {
        self.0.get(name)
    }

    /// Their names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl std::fmt::Debug for Gateways {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
