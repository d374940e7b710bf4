//! Webhooks: believed when the signature fits the bytes as they came, and then read.

use billing::gateway::{Webhook, WebhookError};
use chrono::{DateTime, Utc};
use gateway_sim::{SIGNATURE_HEADER, TIMESTAMP_HEADER};

use super::wire::{Announced, plain};
use super::{Secret, payment_of};

pub(super) fn read(
    secret: Option<&Secret>,
    header: &dyn Fn(&str) -> Option<String>,
    body: &[u8],
    now: DateTime<Utc>,
) -> Result<Webhook, WebhookError> {
    prove(secret, header, body, now).map_err(WebhookError::Forged)?;
    let announced: Announced = serde_json::from_slice(body).map_err(unreadable)?;
    if plain(&announced.event_id) != announced.event_id || announced.event_id.is_empty() {
        // It is what keeps the second copy from being applied: cut, it could be another's.
        return Err(unreadable("its event_id does not fit into a line"));
    }
    let charge = announced.data.charge;
    let payment = charge
        .as_ref()
        .and_then(|charge| payment_of(&charge.reference));
    let verdict = match announced.kind.as_str() {
        "charge.captured" | "charge.declined" => {
            let charge = charge.ok_or_else(|| unreadable("it tells of no charge"))?;
            let contradicts = || unreadable(format!("it makes no sense: {}", charge.told()));
            Some(charge.verdict().ok_or_else(contradicts)?)
        }
        _ => None,
    };
    Ok(Webhook {
        id: announced.event_id,
        payment,
        verdict,
    })
}

fn prove(
    secret: Option<&Secret>,
    header: &dyn Fn(&str) -> Option<String>,
    body: &[u8],
    now: DateTime<Utc>,
) -> Result<(), String> {
    let secret = secret.ok_or("no secret is configured; set BILLING_GATEWAY_SECRET")?;
    let named = |name| header(name).ok_or_else(|| format!("the header {name} is missing"));
    let (timestamp, signature) = (named(TIMESTAMP_HEADER)?, named(SIGNATURE_HEADER)?);
    gateway_sim::verify(secret.reveal(), &timestamp, body, &signature, now)
        .map_err(|error| error.to_string())
}

fn unreadable(why: impl std::fmt::Display) -> WebhookError {
    WebhookError::Unreadable(plain(&why.to_string()))
}
