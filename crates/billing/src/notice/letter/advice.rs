//! What a customer can do about what a notice tells.

use crate::money::Money;

/// How money is sent.
const BY_TRANSFER: &str = "pay by bank transfer and name the invoice";

pub(super) fn of_invoice(due: Money, number: &str) -> Vec<String> {
    if due.minor() <= 0 {
        return Vec::new();
    }
    vec![format!(
        "If there is a card on your account, it is charged and you need do nothing. Otherwise \
         {BY_TRANSFER} {number}."
    )]
}

pub(super) fn of_failure(is_soft: bool, number: &str) -> Vec<String> {
    let card = if is_soft {
        "We may try your card again in the next days: see that it can be charged by then, or put \
         another card on your account."
    } else {
        "This card will not be charged again: put another card on your account."
    };
    let rest = format!(
        "Or {BY_TRANSFER} {number}. An account whose invoice stays unpaid may be put on hold."
    );
    vec![card.to_owned(), rest]
}

/// A hold's reason, for its customer; it goes on after a colon.
pub(super) fn reason(reason: &str) -> &'static str {
    match reason {
        "delinquent" => "an invoice could not be collected",
        "dispute" => "a charge is disputed",
        "fraud" => "something about its use has to be looked into",
        _ => "somebody of our staff decided so",
    }
}

pub(super) fn of_hold(reason: &str) -> Vec<String> {
    let what_to_do = match reason {
        "delinquent" => {
            "Put a card on your account that can be charged, or pay by bank transfer and name the \
             unpaid invoice. The hold ends when the money has come."
        }
        "dispute" => {
            "Nothing is charged meanwhile. If you did not mean to dispute the charge, tell your \
             bank, and answer this mail."
        }
        _ => "Answer this mail, so that we can find out together what is to be done.",
    };
    vec![what_to_do.to_owned()]
}

pub(super) fn of_release() -> Vec<String> {
    vec!["You need do nothing. Thank you for your patience.".to_owned()]
}
