//! The wire: the gateway's JSON, as far as we read it, and what it means in our words.
//!
//! Its texts end up in tables and logs: they are cut, and what does not print is left out.

use billing::gateway::{Movement, Verdict};
use billing::money::{Currency, Money};
use chrono::{DateTime, Utc};
use serde::Deserialize;

const TEXT_CHARS_MAX: usize = 200;

/// A charge.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Charge {
    charge_id: String,
    pub(super) reference: String,
    status: Status,
    amount_minor: i64,
    currency: Currency,
    decline_code: Option<String>,
    soft: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Captured,
    Declined,
}

impl Charge {
    /// What became of it; nothing when it contradicts itself.
    pub(super) fn verdict(&self) -> Option<Verdict> {
        let gateway_ref = plain(&self.charge_id);
        match self.status {
            Status::Captured if self.amount_minor > 0 => Some(Verdict::Captured {
                gateway_ref,
                money: Money::new(self.amount_minor, self.currency),
            }),
            Status::Captured => None,
            Status::Declined => {
                let code = self.decline_code.as_deref().map(plain);
                let code = code.filter(|code| !code.is_empty());
                Some(Verdict::Declined {
                    gateway_ref: Some(gateway_ref),
                    code: code.unwrap_or_else(|| "declined".to_owned()),
                    is_soft: self.soft.unwrap_or(false),
                })
            }
        }
    }

    /// For people who have to look at it.
    pub(super) fn told(&self) -> String {
        let money = Money::new(self.amount_minor, self.currency);
        format!("{} {:?} {money}", plain(&self.charge_id), self.status)
    }
}

/// The answer to a look-up.
#[derive(Debug, Deserialize)]
pub(super) struct Found {
    pub(super) charges: Vec<Charge>,
}

/// The answer to a cancelling.
#[derive(Debug, Deserialize)]
pub(super) struct CancelledKey {
    pub(super) status: KeyStatus,
    pub(super) charge: Option<Charge>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum KeyStatus {
    Cancelled,
    Used,
}

/// A page of the statement.
#[derive(Debug, Deserialize)]
pub(super) struct Statement {
    pub(super) movements: Vec<Moved>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Moved {
    seq: i64,
    at: DateTime<Utc>,
    #[serde(rename = "type")]
    kind: Kind,
    charge_id: String,
    reference: String,
    amount_minor: i64,
    currency: Currency,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Captured,
    Refunded,
}

impl From<Moved> for Movement {
    fn from(moved: Moved) -> Self {
        let minor = match moved.kind {
            Kind::Captured => moved.amount_minor,
            Kind::Refunded => -moved.amount_minor,
        };
        Self {
            seq: moved.seq,
            at: moved.at,
            reference: plain(&moved.reference),
            gateway_ref: plain(&moved.charge_id),
            money: Money::new(minor, moved.currency),
        }
    }
}

/// The body of a refusal.
#[derive(Debug, Deserialize)]
pub(super) struct Refused {
    pub(super) error: Reason,
}

#[derive(Debug, Deserialize)]
pub(super) struct Reason {
    pub(super) code: String,
    #[serde(default)]
    pub(super) message: String,
}

/// A webhook.
#[derive(Debug, Deserialize)]
pub(super) struct Announced {
    pub(super) event_id: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) data: About,
}

#[derive(Debug, Deserialize)]
pub(super) struct About {
    pub(super) charge: Option<Charge>,
}

/// The text without what does not print, which a table may refuse, and not longer than a line.
pub(super) fn plain(text: &str) -> String {
    let printable = text.chars().filter(|char| !char.is_control());
    printable.take(TEXT_CHARS_MAX).collect()
}
