//! Answers about refunds: 422 `refund_above_captured` and 404 `unknown_charge` decline one for
//! ever; all others mean what they mean for charges.

use billing::gateway::{CallError, RefundVerdict};
use billing::money::{Currency, Money};
use hyper::StatusCode;
use serde::Deserialize;

use super::super::client::Answer;
use super::super::wire::{Refused, plain};
use super::{good, read, said, trouble};

#[derive(Debug, Deserialize)]
struct Refund {
    refund_id: String,
    reference: String,
    status: Status,
    amount_minor: i64,
    currency: Currency,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Succeeded,
}

#[derive(Debug, Deserialize)]
struct Found {
    refunds: Vec<Refund>,
}

/// The answer to a refund.
pub(in super::super) fn refund(
    answer: &Answer,
    reference: &str,
) -> Result<RefundVerdict, CallError> {
    match answer.status {
        StatusCode::OK | StatusCode::CREATED => verdict(&read(answer)?, reference),
        StatusCode::UNPROCESSABLE_ENTITY | StatusCode::NOT_FOUND => declined(answer),
        _ => Err(trouble(answer)),
    }
}

/// The answer to a look-up: nothing, or the one refund with our reference.
pub(in super::super) fn look_up(
    answer: &Answer,
    reference: &str,
) -> Result<Option<RefundVerdict>, CallError> {
    let found: Found = good(answer)?;
    match found.refunds.as_slice() {
        [] => Ok(None),
        [only] => verdict(only, reference).map(Some),
        // Money went back more than once, which a person has to put right.
        several => Err(CallError::Refused(format!(
            "{} refunds have the reference {reference}",
            several.len()
        ))),
    }
}

fn declined(answer: &Answer) -> Result<RefundVerdict, CallError> {
    let reason = serde_json::from_slice::<Refused>(&answer.body).ok();
    let reason = reason.map(|refused| refused.error);
    match reason.as_ref().map(|reason| reason.code.as_str()) {
        Some("refund_above_captured" | "unknown_charge") => Ok(RefundVerdict::Declined(said(
            answer.status,
            reason.as_ref(),
        ))),
        _ => Err(trouble(answer)),
    }
}

fn verdict(refund: &Refund, reference: &str) -> Result<RefundVerdict, CallError> {
    if refund.reference != reference {
        let other = plain(&refund.reference);
        let text = format!("the answer is about {other:?}, and not about {reference}");
        return Err(CallError::Unknown(text));
    }
    match refund.status {
        Status::Succeeded => Ok(RefundVerdict::GivenBack {
            gateway_ref: plain(&refund.refund_id),
            money: Money::new(refund.amount_minor, refund.currency),
        }),
    }
}
