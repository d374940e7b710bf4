//! What a gateway tells on its own: kept as it came, and applied once.
//!
//! Webhooks come late, twice, five times at once, before the response that they tell of. None of
//! it matters, because settling does not ask who tells first. One about a charge that is not ours
//! is kept for the people who reconcile.

use chrono::{DateTime, Utc};
use outbox::{UnitOfWork, failpoint};

use super::{Outcome, PaymentError, settle_all, store};
use crate::gateway::Webhook;
use crate::ids::PaymentId;

/// What became of a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// It told what became of this payment.
    Applied(PaymentId),
    /// It came before; nothing changes.
    Repeated,
    /// It tells of something that payments do not follow.
    Aside,
    /// It tells of a charge that we did not ask this gateway for.
    UnknownCharge,
}

impl Received {
    /// As it stands beside the webhook's bytes.
    const fn name(self) -> &'static str {
        match self {
            Self::Applied(_) => "applied",
            Self::Repeated => "repeated",
            Self::Aside => "aside",
            Self::UnknownCharge => "unknown charge",
        }
    }
}

/// Keeps a webhook that proved whose it is, with the bytes of its `body`, and applies it in the
/// same transaction. `gateway` is the name of the one that proved it: of another's payments it can
/// tell nothing.
///
/// # Errors
/// [`PaymentError`]; the unit of work is then of no more use.
pub async fn receive(
    tx: &mut UnitOfWork,
    (gateway, webhook): (&str, Webhook),
    body: &[u8],
    now: DateTime<Utc>,
) -> Result<Received, PaymentError> {
    let payment = match webhook.payment {
        Some(payment) => store::of_gateway(tx, payment, gateway).await?,
        None => None,
    };
    let (received, told) = match (payment, webhook.verdict) {
        (_, None) => (Received::Aside, None),
        (None, Some(_)) => (Received::UnknownCharge, None),
        (Some(payment), Some(verdict)) => (
            Received::Applied(payment),
            Some((payment, Outcome::Verdict(verdict))),
        ),
    };
    // Whoever brings the same one at the same time waits here, until this one has committed.
    let from = (gateway, webhook.id.as_str());
    if !store::keep(tx, from, body, (payment, received.name())).await? {
        return Ok(Received::Repeated);
    }
    failpoint!("webhook.kept")?;
    settle_all(tx, told.as_slice(), now).await?;
    failpoint!("webhook.applied")?;
    Ok(received)
}
