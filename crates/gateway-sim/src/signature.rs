//! Signatures of webhooks: who receives one can tell that the gateway sent these very bytes,
//! lately.
//!
//! `Gateway-Timestamp` is the time of sending in Unix seconds; `Gateway-Signature` is `v1=` and the
//! HMAC-SHA256 of `<timestamp>.<body>` under the shared secret, in lower-case hexadecimal.

use std::fmt::Write as _;

use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// The header that carries the time of sending.
pub const TIMESTAMP_HEADER: &str = "gateway-timestamp";
/// The header that carries the signature.
pub const SIGNATURE_HEADER: &str = "gateway-signature";

/// How far the sender's clock and ours may differ; an older message may be a replay.
const TOLERANCE: TimeDelta = TimeDelta::minutes(5);

/// Why a webhook is not to be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The timestamp is not a number of Unix seconds.
    #[error("the timestamp is not a number of seconds")]
    Timestamp,
    /// The timestamp is more than five minutes away from now.
    #[error("the message is more than five minutes away from now: a replay, or a wrong clock")]
    Stale,
    /// The signature is not `v1=` and 64 hexadecimal digits.
    #[error("the signature is not of the form v1=<64 hexadecimal digits>")]
    Form,
    /// The signature was made of other bytes, or with another secret.
    #[error("the signature does not fit the message: other bytes, or another secret")]
    Mismatch,
}

/// Verifies a received webhook: `timestamp` and `signature` as the headers have them, `body` as it
/// came, before it is parsed. Takes the same time whichever digit is wrong.
///
/// # Errors
/// Tells which of the checks failed first.
pub fn verify(
    secret: &str,
    timestamp: &str,
    body: &[u8],
    signature: &str,
    now: DateTime<Utc>,
) -> Result<(), SignatureError> {
    let sent = timestamp.parse().ok();
    let sent = sent.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    let sent: DateTime<Utc> = sent.ok_or(SignatureError::Timestamp)?;
    if now.signed_duration_since(sent).abs() > TOLERANCE {
        return Err(SignatureError::Stale);
    }
    let digest = signature.strip_prefix("v1=").and_then(from_hex);
    let digest = digest.ok_or(SignatureError::Form)?;
    authenticate(secret, timestamp, body)
        .verify_slice(&digest)
        .map_err(|_| SignatureError::Mismatch)
}

/// The value of the signature's header.
pub(crate) fn sign(secret: &str, timestamp: &str, body: &[u8]) -> String {
    let digest = authenticate(secret, timestamp, body).finalize();
    format!("v1={}", hex(&digest.into_bytes()))
}

fn authenticate(secret: &str, timestamp: &str, body: &[u8]) -> Hmac<Sha256> {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(timestamp.as_bytes());
    mac.update(b".");
    mac.update(body);
    mac
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes any text");
        text
    })
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let text = text.as_bytes();
    let mut bytes = [0; 32];
    if text.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        *byte = u8::try_from(digit(0)? * 16 + digit(1)?).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_test";
    const BODY: &[u8] = br#"{"event_id":"evt_1"}"#;
    const SENT: i64 = 1_924_992_000;

    fn verified(body: &[u8], signature: &str, seconds_later: i64) -> Result<(), SignatureError> {
        let now = DateTime::from_timestamp(SENT + seconds_later, 0).unwrap();
        verify(SECRET, &SENT.to_string(), body, signature, now)
    }

    fn signed() -> String {
        sign(SECRET, &SENT.to_string(), BODY)
    }

    #[test]
    fn a_message_is_verified_by_what_it_was_signed_with() {
        assert_eq!(verified(BODY, &signed(), 0), Ok(()));
    }

    /// From RFC 4231, test case 2, with the key and the text that it gives.
    #[test]
    fn the_digest_is_the_hmac_of_the_standard() {
        let mut mac = Hmac::<Sha256>::new_from_slice(b"Jefe").unwrap();
        mac.update(b"what do ya want for nothing?");

        assert_eq!(
            hex(&mac.finalize().into_bytes()),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn no_byte_of_the_message_may_change() {
        for at in 0..BODY.len() {
            let mut body = BODY.to_vec();
            body[at] ^= 1;
            assert_eq!(verified(&body, &signed(), 0), Err(SignatureError::Mismatch));
        }
    }

    #[test]
    fn no_digit_of_the_signature_may_change() {
        let signature = signed();
        for at in 3..signature.len() {
            let mut other = signature.clone();
            let digit = if &other[at..=at] == "0" { "1" } else { "0" };
            other.replace_range(at..=at, digit);
            assert_eq!(verified(BODY, &other, 0), Err(SignatureError::Mismatch));
        }
        for other in [
            "",
            "v1=",
            "v2=00",
            &signature[3..],
            &signature[..66],
            "v1=é",
        ] {
            assert_eq!(verified(BODY, other, 0), Err(SignatureError::Form));
        }
    }

    #[test]
    fn another_secret_or_another_time_does_not_verify() {
        let now = DateTime::from_timestamp(SENT, 0).unwrap();
        let with = |secret, timestamp| verify(secret, timestamp, BODY, &signed(), now);

        let same = SENT.to_string();
        let later = (SENT + 1).to_string();
        assert_eq!(with("whsec_other", &same), Err(SignatureError::Mismatch));
        assert_eq!(with(SECRET, &later), Err(SignatureError::Mismatch));
        assert_eq!(with(SECRET, "soon"), Err(SignatureError::Timestamp));
    }

    #[test]
    fn a_message_is_good_for_five_minutes_either_way() {
        assert_eq!(verified(BODY, &signed(), 300), Ok(()));
        assert_eq!(verified(BODY, &signed(), -300), Ok(()));
        assert_eq!(verified(BODY, &signed(), 301), Err(SignatureError::Stale));
        assert_eq!(verified(BODY, &signed(), -301), Err(SignatureError::Stale));
    }
}
