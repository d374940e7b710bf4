//! Webhooks as a gateway sends them: signed over their bytes.

use billing::ids::PaymentId;
use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use outbox::clock;
use serde_json::{Value, json};
use sha2::Sha256;
use uuid::Uuid;

use crate::client::raw;
use crate::scene::SECRET;

/// A webhook about to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Signed {
    pub(crate) gateway: &'static str,
    pub(crate) secret: &'static str,
    pub(crate) at: DateTime<Utc>,
    pub(crate) body: Vec<u8>,
}

impl Signed {
    /// From `house`, of now.
    pub(crate) fn new(body: &Value) -> Self {
        Self {
            gateway: "house",
            secret: SECRET,
            at: clock::now(),
            body: body.to_string().into_bytes(),
        }
    }

    pub(crate) fn capture(event_id: &str, payment: PaymentId, minor: i64) -> Self {
        Self::new(&captured(event_id, payment, minor))
    }

    pub(crate) fn seconds_later(mut self, seconds: i64) -> Self {
        self.at += TimeDelta::seconds(seconds);
        self
    }

    /// What `Gateway-Signature` says.
    pub(crate) fn signature(&self) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.secret.as_bytes()).unwrap();
        mac.update(format!("{}.", self.at.timestamp()).as_bytes());
        mac.update(&self.body);
        let digest = mac.finalize().into_bytes();
        let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("v1={digits}")
    }

    pub(crate) fn request(&self) -> Vec<u8> {
        self.request_with(&self.headers(), &self.body)
    }

    pub(crate) fn headers(&self) -> String {
        let (sent, signature) = (self.at.timestamp(), self.signature());
        format!("Gateway-Timestamp: {sent}\r\nGateway-Signature: {signature}\r\n")
    }

    /// With other headers or other bytes than those that were signed.
    pub(crate) fn request_with(&self, headers: &str, body: &[u8]) -> Vec<u8> {
        let target = format!("/v1/gateways/{}/webhooks", self.gateway);
        raw("POST", &target, headers, body)
    }
}

/// The body that tells of a capture.
pub(crate) fn captured(event_id: &str, payment: PaymentId, minor: i64) -> Value {
    let charge = json!({
        "charge_id": "ch_1",
        "reference": Uuid::from(payment),
        "status": "captured",
        "amount_minor": minor,
        "currency": "USD",
    });
    json!({ "event_id": event_id, "type": "charge.captured", "data": { "charge": charge } })
}

/// The body that tells that there was none.
pub(crate) fn declined(event_id: &str, payment: PaymentId) -> Value {
    let mut body = captured(event_id, payment, 1);
    body["type"] = json!("charge.declined");
    body["data"]["charge"]["status"] = json!("declined");
    body["data"]["charge"]["decline_code"] = json!("do_not_honor");
    body
}
