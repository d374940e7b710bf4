//! Payloads: of each topic, what our consumers read of it.
//!
//! Fields that are not named here may come and go. A version above the one known waits for the
//! deploy of a program that knows it: it is never a dead letter.

use billing::ids::InvoiceId;
use billing::money::{Currency, Money};
use billing::report::Finalized;
use chrono::NaiveDate;
use outbox::{Event, Failure};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

/// An invoice became final.
pub(crate) const INVOICE_FINALIZED: &str = "invoice.finalized";
const INVOICE_FINALIZED_VERSION: i16 = 1;

/// Version 1 of `invoice.finalized`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct InvoiceFinalizedV1 {
    pub(crate) invoice_id: InvoiceId,
    currency: Currency,
    total_minor: i64,
    lines: i64,
    state: String,
    /// The month billed, written `2024-09`.
    #[serde(deserialize_with = "month")]
    month: NaiveDate,
}

impl InvoiceFinalizedV1 {
    /// Reads an event of the topic.
    pub(crate) fn of(event: &Event) -> Result<Self, Failure> {
        read(event, INVOICE_FINALIZED_VERSION)
    }

    /// What the figures need.
    pub(crate) fn finalized(&self, part: i16) -> Finalized {
        Finalized {
            month: self.month,
            total: Money::new(self.total_minor, self.currency),
            lines: self.lines,
            is_paid: self.state == "paid",
            part,
        }
    }
}

fn read<P: DeserializeOwned>(event: &Event, known: i16) -> Result<P, Failure> {
    let (topic, version) = (&event.topic, event.schema_version);
    if version > known {
        return Err(Failure::retry(format!(
            "{topic} of version {version} is newer than this program, which knows {known}: deploy \
             the newer one; the event waits for it"
        )));
    }
    P::deserialize(&event.payload).map_err(|error| {
        Failure::retry(format!(
            "the payload of {topic} {} cannot be read: {error}",
            event.event_id
        ))
    })
}

fn month<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NaiveDate, D::Error> {
    let month = String::deserialize(deserializer)?;
    format!("{month}-01")
        .parse()
        .map_err(|_| serde::de::Error::custom(format!("{month:?} is not a month such as 2024-09")))
}

#[cfg(test)]
mod tests {
    use outbox::{Lane, LogPoint};
    use serde_json::{Value, json};

    use super::*;

    /// As `billing` writes it.
    fn golden() -> Value {
        json!({
            "invoice_id": "0192f3a1-0000-7000-8000-000000000001",
            "account_id": "0192f3a1-0000-7000-8000-000000000002",
            "external_id": "acct-17",
            "number": "INV-000001",
            "currency": "EUR",
            "subtotal_minor": 76_151,
            "tax_minor": 0,
            "total_minor": 76_151,
            "total": "761.51",
            "lines": 4,
            "state": "finalized",
            "month": "2024-09",
            "as_of": "2024-10-01T00:00:00Z"
        })
    }

    fn event(schema_version: i16, payload: Value) -> Event {
        Event {
            point: LogPoint::default(),
            event_id: uuid::Uuid::nil(),
            topic: INVOICE_FINALIZED.to_owned(),
            schema_version,
            key: uuid::Uuid::nil(),
            part: 5,
            lane: Lane::Bulk,
            at: chrono::DateTime::UNIX_EPOCH,
            payload,
            actor: "test".to_owned(),
            reason: None,
            request_id: None,
            caused_by: None,
            batch_id: None,
            traceparent: None,
        }
    }

    #[test]
    fn version_1_is_read_for_ever() {
        let read = InvoiceFinalizedV1::of(&event(1, golden())).unwrap();

        let finalized = read.finalized(5);
        assert_eq!(
            finalized.month,
            NaiveDate::from_ymd_opt(2024, 9, 1).unwrap()
        );
        assert_eq!(finalized.total.to_string(), "761.51 EUR");
        assert_eq!(
            (finalized.lines, finalized.is_paid, finalized.part),
            (4, false, 5)
        );
    }

    #[test]
    fn a_newer_version_waits_for_the_deploy() {
        let failure = InvoiceFinalizedV1::of(&event(2, golden())).unwrap_err();

        assert!(matches!(failure, Failure::Retry { .. }));
        assert!(
            failure
                .to_string()
                .contains("version 2 is newer than this program")
        );
        assert!(failure.to_string().contains("deploy"));
    }

    #[test]
    fn a_payload_that_cannot_be_read_says_what_is_wrong() {
        let mut payload = golden();
        payload["month"] = json!("September");
        let failure = InvoiceFinalizedV1::of(&event(1, payload)).unwrap_err();

        assert!(
            failure
                .to_string()
                .ends_with(r#""September" is not a month such as 2024-09"#)
        );
    }
}
