//! Answers: what the gateway said, by status and body.
//!
//! | answer | meaning |
//! |---|---|
//! | 200, 201, 402 with a charge that is ours | a verdict |
//! | 409 `key_burnt` | cancelled: it never happened and never will |
//! | 429; 503 `busy` with `Retry-After` | busy: nothing was done |
//! | 3xx, 401, 403, 404, 405 | nothing was done: we are not let in, or this is no gateway |
//! | 409 `in_progress` | unknown: the first request with the key is under way |
//! | 408, any other from 500 upwards, anything unreadable | unknown |
//! | any other from 400 upwards | refused |

pub(super) mod refund;

use billing::gateway::{CallError, Cancelled, Movement, Verdict};
use hyper::StatusCode;
use serde::de::DeserializeOwned;

use super::client::Answer;
use super::wire::{CancelledKey, Charge, Found, KeyStatus, Reason, Refused, Statement, plain};

/// The answer to a charge. An unknown card's is 402 with the charge that was declined.
pub(super) fn charge(answer: &Answer, reference: &str) -> Result<Verdict, CallError> {
    let charge: Charge = match answer.status {
        StatusCode::OK | StatusCode::CREATED | StatusCode::PAYMENT_REQUIRED => read(answer)?,
        _ => return Err(trouble(answer)),
    };
    verdict(&charge, reference)
}

/// The answer to a look-up: nothing, or the one charge with our reference.
pub(super) fn look_up(answer: &Answer, reference: &str) -> Result<Option<Verdict>, CallError> {
    let found: Found = good(answer)?;
    match found.charges.as_slice() {
        [] => Ok(None),
        [only] => verdict(only, reference).map(Some),
        several => {
            let told: Vec<String> = several.iter().map(Charge::told).collect();
            let told = told.join(", ");
            // Which of them to believe, and whether to give money back, is for a person.
            let text = format!("several charges have the reference {reference}: {told}");
            Err(CallError::Refused(text))
        }
    }
}

/// The answer to a cancelling.
pub(super) fn cancel(answer: &Answer, reference: &str) -> Result<Cancelled, CallError> {
    let cancelled: CancelledKey = good(answer)?;
    match (cancelled.status, cancelled.charge) {
        (KeyStatus::Cancelled, None) => Ok(Cancelled::Burnt),
        (KeyStatus::Used, Some(charge)) => verdict(&charge, reference).map(Cancelled::Was),
        _ => Err(unreadable(answer, "it contradicts itself")),
    }
}

/// A page of the statement.
pub(super) fn statement(answer: &Answer) -> Result<Vec<Movement>, CallError> {
    let statement: Statement = good(answer)?;
    Ok(statement
        .movements
        .into_iter()
        .map(Movement::from)
        .collect())
}

fn good<T: DeserializeOwned>(answer: &Answer) -> Result<T, CallError> {
    if answer.status == StatusCode::OK {
        read(answer)
    } else {
        Err(trouble(answer))
    }
}

fn read<T: DeserializeOwned>(answer: &Answer) -> Result<T, CallError> {
    serde_json::from_slice(&answer.body).map_err(|error| unreadable(answer, error))
}

fn unreadable(answer: &Answer, why: impl std::fmt::Display) -> CallError {
    let why = plain(&why.to_string());
    CallError::Unknown(format!(
        "the answer {} cannot be read: {why}",
        answer.status
    ))
}

fn verdict(charge: &Charge, reference: &str) -> Result<Verdict, CallError> {
    if charge.reference != reference {
        let other = plain(&charge.reference);
        let text = format!("the answer is about {other:?}, and not about {reference}");
        return Err(CallError::Unknown(text));
    }
    let contradicts =
        || CallError::Unknown(format!("the charge makes no sense: {}", charge.told()));
    charge.verdict().ok_or_else(contradicts)
}

/// What an answer means that is not the one that was hoped for.
fn trouble(answer: &Answer) -> CallError {
    let reason = serde_json::from_slice::<Refused>(&answer.body).ok();
    let reason = reason.map(|refused| refused.error);
    let code = reason.as_ref().map_or("", |reason| reason.code.as_str());
    let error = said(answer.status, reason.as_ref());
    let after = answer.retry_after;
    match answer.status {
        StatusCode::CONFLICT if code == "key_burnt" => CallError::Cancelled,
        StatusCode::CONFLICT if code == "in_progress" => CallError::Unknown(error),
        StatusCode::TOO_MANY_REQUESTS => CallError::Busy { error, after },
        StatusCode::SERVICE_UNAVAILABLE if code == "busy" && after.is_some() => {
            CallError::Busy { error, after }
        }
        StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN
        | StatusCode::NOT_FOUND
        | StatusCode::METHOD_NOT_ALLOWED => not_let_in(&error),
        status if status.is_redirection() => not_let_in(&error),
        StatusCode::REQUEST_TIMEOUT => CallError::Unknown(error),
        status if status.is_client_error() => CallError::Refused(error),
        _ => CallError::Unknown(error),
    }
}

/// Every payment would be told the same: it is the gateway that has to be put right.
fn not_let_in(error: &str) -> CallError {
    CallError::Busy {
        error: format!("{error}; is BILLING_GATEWAY_URL the address of the gateway?"),
        after: None,
    }
}

fn said(status: StatusCode, reason: Option<&Reason>) -> String {
    match reason {
        Some(reason) => {
            let (code, message) = (plain(&reason.code), plain(&reason.message));
            format!("{status}: {code}: {message}")
        }
        None => status.to_string(),
    }
}

#[cfg(test)]
mod tests;
