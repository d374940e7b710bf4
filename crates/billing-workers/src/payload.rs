//! Payloads: of each topic, what our consumers read of it.
//!
//! Fields that are not named here may come and go. A version above the one known waits for the
//! deploy of a program that knows it: it is never a dead letter.

use billing::dunning::Declined;
use billing::ids::{AccountId, InvoiceId, PaymentId, RefundId, RunId};
use billing::money::{Currency, Money};
use billing::report::{Fact, Finalized};
use chrono::{DateTime, NaiveDate, Utc};
use outbox::{Event, Failure, Upcaster};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

/// What consumers read of a topic.
pub(crate) trait Payload: DeserializeOwned {
    /// The topic.
    const TOPIC: &'static str;
    /// What makes older versions into the newest; one more is known than there are of these.
    const UPCASTERS: &'static [Upcaster];

    /// Reads an event of the topic.
    fn of(event: &Event) -> Result<Self, Failure> {
        event.facts(Self::UPCASTERS)
    }
}

macro_rules! payload {
    ($($name:ty: $topic:literal [$($upcaster:expr),*];)+) => {$(
        impl Payload for $name {
            const TOPIC: &'static str = $topic;
            const UPCASTERS: &'static [Upcaster] = &[$($upcaster),*];
        }
    )+};
}

payload! {
    InvoiceFinalizedV1: "invoice.finalized" [];
    InvoicePaidV1: "invoice.paid" [];
    PaymentSucceededV1: "payment.succeeded" [];
    PaymentDeclinedV1: "payment.declined" [];
    DunningDueV1: "dunning.due" [];
    RefundRequestedV1: "refund.requested" [];
    MonthCloseSettledV1: "month_close.settled" [];
    CheckDueV1: "check.due" [];
}

/// Version 1 of `invoice.finalized`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct InvoiceFinalizedV1 {
    pub(crate) invoice_id: InvoiceId,
    currency: Currency,
    total_minor: i64,
    /// What of it credit paid at once.
    #[serde(default)]
    credit_minor: i64,
    lines: i64,
    state: String,
    /// The month billed, written `2024-09`.
    #[serde(deserialize_with = "month")]
    month: NaiveDate,
}

impl InvoiceFinalizedV1 {
    /// Whether nothing was due on it when it became final.
    pub(crate) fn is_paid(&self) -> bool {
        self.state == "paid"
    }

    /// What the figures count.
    pub(crate) fn fact(&self) -> Fact {
        Fact::Finalized(Finalized {
            month: self.month,
            total: Money::new(self.total_minor, self.currency),
            credit: Money::new(self.credit_minor, self.currency),
            lines: self.lines,
            is_paid: self.is_paid(),
        })
    }
}

/// Version 1 of `invoice.paid`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct InvoicePaidV1 {
    currency: Currency,
    #[serde(deserialize_with = "month")]
    month: NaiveDate,
}

impl InvoicePaidV1 {
    /// What the figures count.
    pub(crate) fn fact(&self) -> Fact {
        Fact::Paid(self.month, self.currency)
    }
}

/// Version 1 of `payment.succeeded`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct PaymentSucceededV1 {
    currency: Currency,
    captured_minor: i64,
    /// The month of the invoice that it is for, if it is for one.
    month: Option<String>,
}

impl PaymentSucceededV1 {
    /// What the figures count; nothing of money that came without saying what for.
    pub(crate) fn fact(&self) -> Option<Fact> {
        let month = first_day(self.month.as_deref()?)?;
        let money = Money::new(self.captured_minor, self.currency);
        Some(Fact::Collected(month, money))
    }
}

/// Version 1 of `payment.declined`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct PaymentDeclinedV1 {
    payment_id: PaymentId,
    account_id: AccountId,
    invoice_id: InvoiceId,
    is_soft: bool,
}

impl PaymentDeclinedV1 {
    /// What dunning needs to know.
    pub(crate) fn declined(&self) -> Declined {
        Declined {
            payment: self.payment_id,
            account: self.account_id,
            invoice: self.invoice_id,
            is_soft: self.is_soft,
        }
    }
}

/// Version 1 of `dunning.due`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct DunningDueV1 {
    pub(crate) account_id: AccountId,
    pub(crate) invoice_id: InvoiceId,
}

/// Version 1 of `refund.requested`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct RefundRequestedV1 {
    pub(crate) refund_id: RefundId,
}

/// Version 1 of `month_close.settled`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct MonthCloseSettledV1 {
    pub(crate) run_id: RunId,
    #[serde(deserialize_with = "month")]
    pub(crate) month: NaiveDate,
}

/// Version 1 of `check.due`: the slot of the schedule that asks for a run of the checks.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct CheckDueV1 {
    pub(crate) slot: DateTime<Utc>,
}

fn month<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NaiveDate, D::Error> {
    let month = String::deserialize(deserializer)?;
    first_day(&month).ok_or_else(|| {
        serde::de::Error::custom(format!("{month:?} is not a month such as 2024-09"))
    })
}

fn first_day(month: &str) -> Option<NaiveDate> {
    format!("{month}-01").parse().ok()
}

#[cfg(test)]
mod tests {
    use outbox::Recorded;
    use serde_json::{Value, json};

    use super::*;

    const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/events");

    /// As it was written when the version was new.
    fn golden_of(topic: &str, version: usize) -> Value {
        let path = format!("{GOLDEN}/{topic}.v{version}.json");
        let text = std::fs::read_to_string(&path);
        let text = text.unwrap_or_else(|error| panic!("{path}: {error}"));
        serde_json::from_str(&text).unwrap()
    }

    fn golden() -> Value {
        golden_of(InvoiceFinalizedV1::TOPIC, 1)
    }

    fn every_version_is_read<P: Payload>() {
        for version in 1..=P::UPCASTERS.len() + 1 {
            let number = i16::try_from(version).unwrap();
            let golden = golden_of(P::TOPIC, version);
            let event = Recorded::unlogged(P::TOPIC, number, uuid::Uuid::nil(), golden);
            let read = P::of(&event.into());
            assert!(read.is_ok(), "{} v{version}: {:?}", P::TOPIC, read.err());
        }
    }

    #[test]
    fn every_version_of_every_topic_is_read_for_ever() {
        every_version_is_read::<InvoiceFinalizedV1>();
        every_version_is_read::<InvoicePaidV1>();
        every_version_is_read::<PaymentSucceededV1>();
        every_version_is_read::<PaymentDeclinedV1>();
        every_version_is_read::<DunningDueV1>();
        every_version_is_read::<RefundRequestedV1>();
        every_version_is_read::<CheckDueV1>();
    }

    fn event(schema_version: i16, payload: Value) -> Event {
        Recorded::unlogged(
            InvoiceFinalizedV1::TOPIC,
            schema_version,
            uuid::Uuid::nil(),
            payload,
        )
        .into()
    }

    #[test]
    fn version_1_is_read_for_ever() {
        let read = InvoiceFinalizedV1::of(&event(1, golden())).unwrap();

        let expected = Finalized {
            month: NaiveDate::from_ymd_opt(2024, 9, 1).unwrap(),
            total: Money::new(76_151, Currency::parse("EUR").unwrap()),
            credit: Money::new(0, Currency::parse("EUR").unwrap()),
            lines: 4,
            is_paid: false,
        };
        assert_eq!(read.fact(), Fact::Finalized(expected));
    }

    #[test]
    fn a_newer_version_waits_for_the_deploy() {
        let failure = InvoiceFinalizedV1::of(&event(2, golden())).unwrap_err();

        assert!(!matches!(failure, Failure::Retry { .. } | Failure::Dead(_)));
    }

    #[test]
    fn a_payload_that_cannot_be_read_says_what_is_wrong() {
        let mut payload = golden();
        payload["month"] = json!("September");
        let failure = InvoiceFinalizedV1::of(&event(1, payload)).unwrap_err();

        assert!(
            failure
                .to_string()
                .contains(r#""September" is not a month such as 2024-09"#)
        );
    }
}
