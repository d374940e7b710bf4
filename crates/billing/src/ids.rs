//! Ids: one type per noun, so that an account's id cannot be passed for an invoice's.
//!
//! All are UUIDv7. They are shown with a prefix (`inv_…`), so that a person sees what a log line
//! talks about; tables, events and JSON keep the bare UUID.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! id {
    ($($(#[$doc:meta])* $name:ident $prefix:literal)+) => {$(
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord,
            Serialize, Deserialize, sqlx::Type,
        )]
        #[serde(transparent)]
        #[sqlx(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id.
            #[must_use]
            #[expect(clippy::new_without_default, reason = "two defaults would differ")]
            pub fn new() -> Self {
                Self(outbox::ids::new())
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{}"), self.0.simple())
            }
        }
    )+};
}

id! {
    /// A customer's account.
    AccountId "acc"
    /// An invoice.
    InvoiceId "inv"
    /// A credit that was granted.
    CreditId "crd"
    /// A check that is violated, from when it is found until it holds again.
    FindingId "fnd"
    /// A hold on an account.
    HoldId "hld"
    /// A notice to a customer.
    NoticeId "ntc"
    /// A payment, or an attempt at one.
    PaymentId "pay"
    /// A card, as its gateway knows it.
    PaymentMethodId "pmt"
    /// A price.
    PriceId "pri"
    /// Money given back of a payment.
    RefundId "ref"
    /// One month's close.
    RunId "run"
    /// Something that an account has, such as a plan or a server.
    SubscriptionId "sub"
}

/// An invoice's number as people read it: `INV-000001`.
#[must_use]
pub fn written_number(series: &str, number: i64) -> String {
    format!("{series}-{number:06}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_shows_what_it_names() {
        let id = InvoiceId::from(Uuid::from_u128(0x0192_f3a1_0000_7000_8000_0000_0000_0001));

        assert_eq!(id.to_string(), "inv_0192f3a1000070008000000000000001");
    }

    #[test]
    fn an_id_is_a_bare_uuid_in_json() {
        let id = AccountId::new();

        let json = serde_json::to_value(id).unwrap();

        assert_eq!(json, serde_json::json!(Uuid::from(id)));
        assert_eq!(serde_json::from_value::<AccountId>(json).unwrap(), id);
    }
}
