//! Requests that change the books, checked before the books see them.

use axum::http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::answer::Refusal;
use crate::card_number;
use crate::profile::Bodies;

const KEY_HEADER: &str = "idempotency-key";
/// As long as the keys of the gateways that we know.
const KEY_CHARS_MAX: usize = 255;
const TEXT_CHARS_MAX: usize = 500;
/// Twelve digits. Nine million such charges still sum up within 64 bits.
const AMOUNT_MINOR_MAX: i64 = 999_999_999_999;

/// What `POST /v1/charges` asks for.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChargeRequest {
    /// The caller's own name for this attempt.
    pub(crate) reference: String,
    pub(crate) token: String,
    pub(crate) amount_minor: i64,
    pub(crate) currency: String,
    #[serde(default)]
    pub(crate) description: String,
}

/// What `POST /v1/refunds` asks for.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RefundRequest {
    pub(crate) charge_id: String,
    pub(crate) amount_minor: i64,
    /// The caller's own name for this refund.
    pub(crate) reference: String,
}

/// What `POST /v1/charges/cancel` asks for.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CancelRequest {
    pub(crate) idempotency_key: String,
}

/// A body that can be checked by itself.
pub(crate) trait Checked: DeserializeOwned + Serialize {
    fn check(&self) -> Result<(), Refusal>;
}

impl Checked for ChargeRequest {
    fn check(&self) -> Result<(), Refusal> {
        check_text("reference", &self.reference, 1)?;
        check_text("token", &self.token, 1)?;
        check_text("description", &self.description, 0)?;
        check_amount(self.amount_minor)?;
        let is_code =
            self.currency.len() == 3 && self.currency.bytes().all(|byte| byte.is_ascii_uppercase());
        refuse_unless(is_code, || {
            "currency: give the three capital letters of ISO 4217".to_owned()
        })
    }
}

impl Checked for RefundRequest {
    fn check(&self) -> Result<(), Refusal> {
        check_text("charge_id", &self.charge_id, 1)?;
        check_text("reference", &self.reference, 1)?;
        check_amount(self.amount_minor)
    }
}

impl Checked for CancelRequest {
    fn check(&self) -> Result<(), Refusal> {
        check_key(&self.idempotency_key)
    }
}

/// A request with its key, and the digest by which another request with the same key is told apart.
#[derive(Debug, Clone)]
pub(crate) struct Keyed<T> {
    pub(crate) key: String,
    pub(crate) digest: [u8; 32],
    pub(crate) request: T,
}

impl<T: Checked> Keyed<T> {
    pub(crate) fn read(headers: &HeaderMap, body: &[u8], bodies: Bodies) -> Result<Self, Refusal> {
        let key = headers.get(KEY_HEADER).and_then(|key| key.to_str().ok());
        let key = key.ok_or_else(|| Refusal::invalid("Send the header Idempotency-Key."))?;
        check_key(key)?;
        let request: T = read(body)?;
        let told_apart_by = match bodies {
            Bodies::Content => serde_json::to_vec(&request).expect("a request was JSON before"),
            Bodies::Bytes => body.to_vec(),
        };
        Ok(Self {
            key: key.to_owned(),
            digest: Sha256::digest(told_apart_by).into(),
            request,
        })
    }
}

/// The body, read and checked.
pub(crate) fn read<T: Checked>(body: &[u8]) -> Result<T, Refusal> {
    let request: T = serde_json::from_slice(body)
        .map_err(|error| Refusal::invalid(format!("The body does not fit: {error}")))?;
    request.check()?;
    Ok(request)
}

fn check_key(key: &str) -> Result<(), Refusal> {
    let fits =
        (1..=KEY_CHARS_MAX).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
    refuse_unless(fits, || {
        format!("The idempotency key has 1 to {KEY_CHARS_MAX} printable characters, no spaces.")
    })?;
    refuse_card_number("idempotency key", key)
}

fn check_text(field: &str, text: &str, chars_min: usize) -> Result<(), Refusal> {
    let fits = (chars_min..=TEXT_CHARS_MAX).contains(&text.chars().count());
    refuse_unless(fits, || {
        format!("{field}: give {chars_min} to {TEXT_CHARS_MAX} characters")
    })?;
    refuse_card_number(field, text)
}

fn check_amount(amount_minor: i64) -> Result<(), Refusal> {
    refuse_unless((1..=AMOUNT_MINOR_MAX).contains(&amount_minor), || {
        format!("amount_minor: give 1 to {AMOUNT_MINOR_MAX} minor units")
    })
}

/// The text is not repeated in the answer: nobody may find the number in a log.
fn refuse_card_number(field: &str, text: &str) -> Result<(), Refusal> {
    if card_number::is_in(text) {
        let message = format!("{field}: this looks like a card number. Send tokens only.");
        return Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "card_number",
            message,
        ));
    }
    Ok(())
}

fn refuse_unless(fits: bool, message: impl FnOnce() -> String) -> Result<(), Refusal> {
    fits.then_some(())
        .ok_or_else(|| Refusal::invalid(message()))
}
