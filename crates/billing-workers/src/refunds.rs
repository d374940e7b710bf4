//! The consumer that gives money back to cards.
//!
//! A refund is decided by the row that requests it. It is marked as sent before the call, so that
//! whoever is stopped in between leaves a row that says to ask first. Never found and sent again
//! with the same key, it is made once.

use std::time::Duration;

use billing::gateway::{
    CallError, Capabilities, Gateway, Gateways, ON_ITS_WAY_MAX, RefundVerdict, Silence, Step,
};
use billing::ids::RefundId;
use billing::refund::{self, Departure, Outcome, RefundError, Sending};
use chrono::{DateTime, Utc};
use outbox::{Act, Dedupe, Event, External, Failure, Load, UnitOfWork, Upcaster, failpoint};
use serde::Deserialize;

use crate::payload::{Payload, RefundRequestedV1};

/// How long a refund waits, each time, for its gateway to be configured.
const UNCONFIGURED_WAIT: Duration = Duration::from_secs(60);

/// The topics that ask for something.
pub(crate) const TOPICS: &[&str] = &[RefundRequestedV1::TOPIC, RefundUnresolvedV1::TOPIC];

/// Version 1 of `refund.unresolved`: a call ended without an answer.
#[derive(Debug, Deserialize)]
struct RefundUnresolvedV1 {
    refund_id: RefundId,
}

impl Payload for RefundUnresolvedV1 {
    const TOPIC: &'static str = "refund.unresolved";
    const UPCASTERS: &'static [Upcaster] = &[];
}

/// Gives money back.
#[derive(Debug)]
pub struct Refunds {
    gateways: Gateways,
}

/// A call to be made.
#[derive(Debug, Clone)]
pub struct Call {
    sending: Sending,
    /// When it left for the first time; none when it had left before.
    left_at: Option<DateTime<Utc>>,
}

impl Refunds {
    /// Gives back at these gateways.
    #[must_use]
    pub fn new(gateways: Gateways) -> Self {
        Self { gateways }
    }

    fn unconfigured(&self, sending: &Sending) -> Act<Outcome> {
        let (refund, wanted) = (sending.refund.refund, &sending.gateway);
        let names: Vec<&str> = self.gateways.names().collect();
        let names = names.join(", ");
        Act::Retry {
            error: format!(
                "{refund} is for a card of the gateway {wanted:?}, which is not configured here \
                 (there is: {names}): set BILLING_GATEWAY_URL"
            ),
            after: Some(UNCONFIGURED_WAIT),
        }
    }
}

impl External for Refunds {
    type Intent = Call;
    type Answer = Outcome;

    const DEDUPE: Dedupe = Dedupe::NaturalKey;

    async fn load(
        &self,
        tx: &mut UnitOfWork,
        events: &[Event],
    ) -> Result<Vec<Load<Call>>, Failure> {
        let refunds = events.iter().map(wanted);
        let refunds: Vec<RefundId> = refunds.collect::<Result<_, _>>()?;
        let now = outbox::clock::now();
        let departures = refund::depart_all(tx, &refunds, now).await;
        let loads = departures.map_err(failure)?.into_iter();
        let call = |sending, left_at| Load::Call(Call { sending, left_at });
        let loads = loads.map(|departure| match departure {
            Departure::Send(sending) => call(sending, Some(now)),
            Departure::Ask(sending) => call(sending, None),
            Departure::Nothing(_) => Load::Recorded,
        });
        Ok(loads.collect())
    }

    async fn act(&self, call: &Call) -> Act<Outcome> {
        let Some(gateway) = self.gateways.get(&call.sending.gateway) else {
            return self.unconfigured(&call.sending);
        };
        let gateway = gateway.as_ref();
        match call.left_at {
            Some(left_at) => send(gateway, &call.sending, left_at).await,
            None => ask(gateway, &call.sending).await,
        }
    }

    async fn settle(
        &self,
        tx: &mut UnitOfWork,
        answers: Vec<(Call, Outcome)>,
    ) -> Result<(), Failure> {
        let outcomes = answers.into_iter();
        let outcomes = outcomes.map(|(call, outcome)| (call.sending.refund.refund, outcome));
        let outcomes: Vec<(RefundId, Outcome)> = outcomes.collect();
        let now = outbox::clock::now();
        refund::settle_all(tx, &outcomes, now)
            .await
            .map_err(failure)
    }
}

fn wanted(event: &Event) -> Result<RefundId, Failure> {
    match event.topic.as_str() {
        RefundUnresolvedV1::TOPIC => RefundUnresolvedV1::of(event).map(|read| read.refund_id),
        _ => RefundRequestedV1::of(event).map(|read| read.refund_id),
    }
}

async fn ask(gateway: &dyn Gateway, sending: &Sending) -> Act<Outcome> {
    let looked_up = match gateway.capabilities().look_up_lag {
        Some(_) => gateway.look_up_refund(sending.refund.refund).await,
        None => Ok(None),
    };
    match looked_up {
        Ok(Some(verdict)) => Act::Answer(Outcome::Verdict(verdict)),
        Ok(None) => go_on(gateway, sending).await,
        Err(error) => failed(error),
    }
}

/// What the gateway does not know of may still be on its way: the same key makes one of both. A
/// refund's key cannot be burnt.
async fn go_on(gateway: &dyn Gateway, sending: &Sending) -> Act<Outcome> {
    let capabilities = Capabilities {
        cancels_by_key: false,
        ..gateway.capabilities()
    };
    let now = outbox::clock::now();
    let sent_at = sending.sent_at.unwrap_or(now);
    let silence = Silence {
        sent_at,
        deadline: capabilities.deadline(sent_at),
        is_wanted: true,
    };
    match capabilities.after(&silence, now) {
        Step::SendAgain => send(gateway, sending, now).await,
        Step::AskLater | Step::Burn => {
            let later = "the gateway does not know of it yet";
            Act::Answer(Outcome::Unknown(later.to_owned()))
        }
        Step::HandOver => {
            let lost = "the gateway does not know of it, which proves nothing: find out";
            Act::Dead(lost.to_owned())
        }
    }
}

/// Makes the call, unless so much time went by since it was not made yet, as in a program that was
/// frozen, that somebody else may have given it up.
async fn send(gateway: &dyn Gateway, sending: &Sending, since: DateTime<Utc>) -> Act<Outcome> {
    if outbox::clock::now() - since >= ON_ITS_WAY_MAX {
        return Act::Retry {
            error: "the refund left too long ago: it is asked for first".to_owned(),
            after: None,
        };
    }
    match give_back(gateway, sending).await {
        Ok(verdict) => Act::Answer(Outcome::Verdict(verdict)),
        Err(error) => failed(error),
    }
}

async fn give_back(gateway: &dyn Gateway, sending: &Sending) -> Result<RefundVerdict, CallError> {
    failpoint!("refund.before_call").map_err(|error| CallError::NotSent(error.to_string()))?;
    let verdict = gateway.refund(&sending.refund).await?;
    failpoint!("refund.given_back").map_err(|error| CallError::Unknown(error.to_string()))?;
    Ok(verdict)
}

fn failed(error: CallError) -> Act<Outcome> {
    let text = error.to_string();
    match error {
        CallError::NotSent(_) => Act::Unavailable {
            error: text,
            after: None,
        },
        CallError::Busy { after, .. } => Act::Unavailable { error: text, after },
        CallError::Unknown(_) => Act::Answer(Outcome::Unknown(text)),
        CallError::Cancelled => Act::Answer(Outcome::Verdict(RefundVerdict::Declined(text))),
        // A person has to look; told to try again, it is asked for first.
        CallError::Refused(_) => Act::Dead(text),
    }
}

fn failure(error: RefundError) -> Failure {
    match error.into_database() {
        Ok(error) => Failure::Database(error),
        Err(error) => Failure::retry(crate::site::told(&error)),
    }
}
