//! Payloads: which notice an event asks for.
//!
//! The key of each of these events is its account. Of the rest only ids are read: a notice's
//! figures are those of the tables.

use billing::ids::{HoldId, InvoiceId, PaymentId};
use billing::notice::{About, Wanted};
use outbox::{Event, Failure, Upcaster};
use serde::Deserialize;

use crate::payload::Payload;

/// What customers are told of.
pub(crate) const TOPICS: &[&str] = &[
    InvoiceFinal::TOPIC,
    PaymentSucceeded::TOPIC,
    PaymentDeclined::TOPIC,
    HoldPlaced::TOPIC,
    HoldReleased::TOPIC,
];

macro_rules! payload {
    ($($name:ident: $topic:literal { $id:ident: $type:ty })+) => {$(
        #[derive(Deserialize)]
        struct $name {
            $id: $type,
        }

        impl Payload for $name {
            const TOPIC: &'static str = $topic;
            const UPCASTERS: &'static [Upcaster] = &[];
        }
    )+};
}

payload! {
    InvoiceFinal: "invoice.finalized" { invoice_id: InvoiceId }
    PaymentSucceeded: "payment.succeeded" { payment_id: PaymentId }
    PaymentDeclined: "payment.declined" { payment_id: PaymentId }
    HoldPlaced: "hold.placed" { hold_id: HoldId }
    HoldReleased: "hold.released" { hold_id: HoldId }
}

/// The notice that an event asks for.
pub(super) fn wanted(event: &Event) -> Result<Wanted, Failure> {
    let about = match event.topic.as_str() {
        InvoiceFinal::TOPIC => About::Invoice(InvoiceFinal::of(event)?.invoice_id),
        PaymentSucceeded::TOPIC => About::Receipt(PaymentSucceeded::of(event)?.payment_id),
        PaymentDeclined::TOPIC => About::PaymentFailed(PaymentDeclined::of(event)?.payment_id),
        HoldPlaced::TOPIC => About::Hold(HoldPlaced::of(event)?.hold_id),
        HoldReleased::TOPIC => About::Release(HoldReleased::of(event)?.hold_id),
        topic => {
            let reason = format!("nobody is told of {topic}: it is not for this consumer");
            return Err(Failure::Dead(reason));
        }
    };
    Ok(Wanted {
        account: event.key.into(),
        about,
    })
}

#[cfg(test)]
mod tests {
    use outbox::Recorded;
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;

    const ID: &str = "0192f3a1-0000-7000-8000-000000000001";
    const ACCOUNT: &str = "0192f3a1-0000-7000-8000-000000000002";

    fn event(topic: &str, schema_version: i16, payload: Value) -> Event {
        Recorded::unlogged(topic, schema_version, ACCOUNT.parse().unwrap(), payload).into()
    }

    /// As `billing` writes them.
    fn golden() -> [(&'static str, Value); 5] {
        let invoice = json!({
            "invoice_id": ID, "account_id": ACCOUNT, "external_id": "acct-17",
            "number": "INV-000001", "currency": "EUR", "subtotal_minor": 76_151, "tax_minor": 0,
            "total_minor": 76_151, "total": "761.51", "lines": 4, "state": "finalized",
            "month": "2024-09", "as_of": "2024-10-01T00:00:00Z",
        });
        let succeeded = json!({
            "payment_id": ID, "account_id": ACCOUNT, "invoice_id": null, "kind": "by_hand",
            "currency": "EUR", "asked_minor": 1000, "captured_minor": 1000, "applied_minor": 0,
            "gateway": null, "gateway_ref": null,
        });
        let declined = json!({
            "payment_id": ID, "account_id": ACCOUNT, "currency": "EUR", "amount_minor": 1000,
            "invoice_id": "0192f3a1-0000-7000-8000-000000000003", "code": "do_not_honor",
            "is_soft": true, "attempt": 2,
        });
        let hold = json!({
            "hold_id": ID, "account_id": ACCOUNT, "reason": "delinquent", "cause": "pay_1",
        });
        [
            (InvoiceFinal::TOPIC, invoice),
            (PaymentSucceeded::TOPIC, succeeded),
            (PaymentDeclined::TOPIC, declined),
            (HoldPlaced::TOPIC, hold.clone()),
            (HoldReleased::TOPIC, hold),
        ]
    }

    #[test]
    fn version_1_of_each_topic_is_read_for_ever() {
        let id: Uuid = ID.parse().unwrap();
        let abouts = golden().map(|(topic, payload)| {
            let wanted = wanted(&event(topic, 1, payload)).unwrap();
            assert_eq!(Uuid::from(wanted.account).to_string(), ACCOUNT);
            wanted.about
        });

        let expected = [
            About::Invoice(id.into()),
            About::Receipt(id.into()),
            About::PaymentFailed(id.into()),
            About::Hold(id.into()),
            About::Release(id.into()),
        ];
        assert_eq!(abouts, expected);
        assert_eq!(golden().map(|(topic, _)| topic), TOPICS);
    }

    #[test]
    fn a_newer_version_waits_for_the_deploy() {
        for (topic, payload) in golden() {
            let failure = wanted(&event(topic, 2, payload)).unwrap_err();

            assert!(matches!(failure, Failure::Newer(_)), "{failure}");
        }
    }

    #[test]
    fn a_payload_without_its_id_says_so() {
        let failure = wanted(&event(HoldPlaced::TOPIC, 1, json!({}))).unwrap_err();

        assert!(failure.to_string().contains("missing field `hold_id`"));
    }
}
