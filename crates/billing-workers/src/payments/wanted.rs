//! What an event asks of payments.

use billing::ids::{InvoiceId, PaymentId};
use outbox::{Event, Failure, Upcaster};
use serde::Deserialize;

use crate::payload::{InvoiceFinalizedV1, Payload};

/// The topics that ask for something.
pub(crate) const TOPICS: &[&str] = &[
    InvoiceFinalizedV1::TOPIC,
    PaymentWantedV1::TOPIC,
    PaymentUnresolvedV1::TOPIC,
];

/// What is asked for. The amount is not: it is read when the decision is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Nothing: credit had paid the invoice by the time that it was final.
    Nothing,
    /// A decision on the invoice.
    Invoice(InvoiceId),
    /// What became of the payment.
    Payment(PaymentId),
}

/// Version 1 of `payment.wanted`: something changed that may pay the invoice.
#[derive(Debug, Deserialize)]
struct PaymentWantedV1 {
    invoice_id: InvoiceId,
}

impl Payload for PaymentWantedV1 {
    const TOPIC: &'static str = "payment.wanted";
    const UPCASTERS: &'static [Upcaster] = &[];
}

/// Version 1 of `payment.unresolved`: a call ended without an answer.
#[derive(Debug, Deserialize)]
struct PaymentUnresolvedV1 {
    payment_id: PaymentId,
}

impl Payload for PaymentUnresolvedV1 {
    const TOPIC: &'static str = "payment.unresolved";
    const UPCASTERS: &'static [Upcaster] = &[];
}

impl Wanted {
    pub(super) fn of(event: &Event) -> Result<Self, Failure> {
        match event.topic.as_str() {
            PaymentWantedV1::TOPIC => {
                PaymentWantedV1::of(event).map(|read| Self::Invoice(read.invoice_id))
            }
            PaymentUnresolvedV1::TOPIC => {
                PaymentUnresolvedV1::of(event).map(|read| Self::Payment(read.payment_id))
            }
            _ => InvoiceFinalizedV1::of(event).map(|read| match read.is_paid() {
                true => Self::Nothing,
                false => Self::Invoice(read.invoice_id),
            }),
        }
    }
}
