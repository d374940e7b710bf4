//! Charges and refunds as callers see them. Amounts are minor units of the currency.

use serde::Serialize;

use crate::clock::Moment;

/// What became of a charge. It never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    Captured,
    Declined,
}

/// One attempt to take money from a card.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Charge {
    pub(crate) charge_id: String,
    pub(crate) reference: String,
    pub(crate) status: Status,
    /// Captured, or asked for and declined.
    pub(crate) amount_minor: i64,
    pub(crate) currency: String,
    pub(crate) refunded_minor: i64,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(crate) decline: Option<Decline>,
    pub(crate) created_at: Moment,
}

/// Why a charge was declined.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Decline {
    pub(crate) decline_code: String,
    /// Whether a later attempt may succeed.
    pub(crate) soft: bool,
}

/// Money given back from one charge.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Refund {
    pub(crate) refund_id: String,
    pub(crate) charge_id: String,
    pub(crate) reference: String,
    pub(crate) status: &'static str,
    pub(crate) amount_minor: i64,
    pub(crate) currency: String,
    pub(crate) created_at: Moment,
}

/// The id of the charge with this number in the books.
pub(crate) fn charge_id(number: i64) -> String {
    format!("ch_{number:010}")
}

/// The number in the books, if this is the id of a charge.
pub(crate) fn charge_number(id: &str) -> Option<i64> {
    let number = id.strip_prefix("ch_")?.parse().ok()?;
    (charge_id(number) == id).then_some(number)
}

/// The id of the refund with this number in the books.
pub(crate) fn refund_id(number: i64) -> String {
    format!("re_{number:010}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_names_one_number_and_is_written_one_way() {
        assert_eq!(charge_number("ch_0000000042"), Some(42));
        assert_eq!(charge_number("ch_42"), None);
        assert_eq!(charge_number("re_0000000042"), None);
        assert_eq!(charge_number("ch_+000000042"), None);
    }
}
