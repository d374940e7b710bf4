//! The consumer that charges cards: for final invoices, for what dunning plans, and for payments of
//! which nobody knows what became.
//!
//! A decision is a row, a departure is a row, and only then the gateway is called, with no
//! transaction open. Whoever is stopped anywhere in between leaves a row that says what to do: an
//! attempt that did not depart is decided on again, one that did is asked for at the gateway.

use std::time::Duration;

use billing::gateway::{
    CallError, Cancelled, Charge, Gateway, Gateways, ON_ITS_WAY_MAX, Silence, Step,
};
use billing::ids::{InvoiceId, PaymentId};
use billing::payment::{self, Attempt, Decision, Outcome, PaymentError};
use chrono::{DateTime, Utc};
use outbox::{Act, Dedupe, Event, External, Failure, Load, Outbox, UnitOfWork, failpoint, planted};
use uuid::Uuid;

mod departures;
mod wanted;

use crate::site::told;
use departures::Departures;
pub(crate) use wanted::TOPICS;
use wanted::Wanted;

/// How long a payment waits, each time, for its gateway to be configured.
const UNCONFIGURED_WAIT: Duration = Duration::from_secs(60);

/// Charges cards.
#[derive(Debug)]
pub struct Payments {
    gateways: Gateways,
    departures: Departures,
}

/// A call to be made.
#[derive(Debug, Clone)]
pub enum Call {
    /// It was decided on: let it depart and make it.
    Charge(Attempt),
    /// It departed before: ask what became of it.
    Ask(Attempt),
}

impl Call {
    fn attempt(&self) -> &Attempt {
        match self {
            Self::Charge(attempt) | Self::Ask(attempt) => attempt,
        }
    }
}

/// What a call came to; nothing when its attempt did not depart, which is recorded by then.
type Answer = Option<Outcome>;

impl Payments {
    /// Charges at these gateways.
    #[must_use]
    pub fn new(outbox: Outbox, gateways: Gateways) -> Self {
        Self {
            gateways,
            departures: Departures::new(outbox),
        }
    }

    async fn charge(&self, gateway: &dyn Gateway, attempt: &Attempt) -> Act<Answer> {
        let now = outbox::clock::now();
        let deadline = gateway.capabilities().deadline(now);
        if planted::is("B09") {
            let called = self.call(gateway, attempt, now).await;
            let left = self.departures.leave(attempt.payment, deadline).await;
            return left.map_or_else(Act::from, |_| called);
        }
        match self.departures.leave(attempt.payment, deadline).await {
            Ok(true) => self.call(gateway, attempt, now).await,
            Ok(false) => Act::Answer(None),
            Err(stays) => stays.into(),
        }
    }

    /// Makes the first call, unless so much time went by since its departure, as in a program that
    /// was frozen, that somebody else may have given it up.
    async fn call(
        &self,
        gateway: &dyn Gateway,
        attempt: &Attempt,
        left_at: DateTime<Utc>,
    ) -> Act<Answer> {
        if outbox::clock::now() - left_at >= ON_ITS_WAY_MAX {
            let late = "it departed too long ago: it is asked for first".to_owned();
            return answered(Err(CallError::Unknown(late)));
        }
        let called = send(gateway, attempt).await;
        let is_unsent = matches!(called, Err(CallError::NotSent(_) | CallError::Busy { .. }));
        if is_unsent
            && gateway.capabilities().key_lifetime.is_none()
            && let Err(stays) = self.departures.stay(attempt.payment).await
        {
            return stays.into();
        }
        answered(called)
    }

    async fn ask(&self, gateway: &dyn Gateway, attempt: &Attempt) -> Act<Answer> {
        let looked_up = match gateway.capabilities().look_up_lag {
            Some(_) => gateway.look_up(attempt.payment).await,
            None => Ok(None),
        };
        match looked_up {
            Ok(Some(verdict)) => answered(Ok(Outcome::Verdict(verdict))),
            Ok(None) => self.go_on(gateway, attempt).await,
            Err(error) => answered(Err(error)),
        }
    }

    /// The gateway knows nothing of it, which proves nothing.
    async fn go_on(&self, gateway: &dyn Gateway, attempt: &Attempt) -> Act<Answer> {
        let is_wanted = match self.departures.is_wanted(attempt.payment).await {
            Ok(is_wanted) => is_wanted,
            Err(stays) => return stays.into(),
        };
        let now = outbox::clock::now();
        let silence = Silence {
            sent_at: attempt.sent_at.unwrap_or(now),
            deadline: attempt.deadline.unwrap_or(now),
            is_wanted,
        };
        let later = || CallError::Unknown("the gateway does not know of it yet".to_owned());
        let lost = || "the gateway does not know of it, which proves nothing: find out".to_owned();
        answered(match gateway.capabilities().after(&silence, now) {
            Step::SendAgain => send(gateway, attempt).await,
            Step::Burn => burn(gateway, attempt.payment).await,
            Step::AskLater => Err(later()),
            Step::HandOver => Ok(Outcome::HandOver(lost())),
        })
    }
}

impl External for Payments {
    type Intent = Call;
    type Answer = Answer;

    const DEDUPE: Dedupe = Dedupe::NaturalKey;

    async fn load(
        &self,
        tx: &mut UnitOfWork,
        events: &[Event],
    ) -> Result<Vec<Load<Call>>, Failure> {
        let wanted = events.iter().map(Wanted::of);
        let wanted: Vec<Wanted> = wanted.collect::<Result<_, _>>()?;
        let (invoices, payments) = sorted(events, &wanted);
        let now = outbox::clock::now();
        let decided = payment::decide_all(tx, &invoices, now).await;
        let asked = payment::ask_all(tx, &payments).await;
        let mut decided = decided.map_err(failure)?.into_iter();
        let mut asked = asked.map_err(failure)?.into_iter();
        let loads = wanted.iter().map(|wanted| match wanted {
            Wanted::Nothing => Load::Recorded,
            Wanted::Invoice(_) => load_of(decided.next()),
            Wanted::Payment(_) => load_of(asked.next()),
        });
        Ok(loads.collect())
    }

    async fn act(&self, call: &Call) -> Act<Answer> {
        let attempt = call.attempt();
        let Some(gateway) = self.gateways.get(&attempt.gateway) else {
            return self.unconfigured(attempt);
        };
        match call {
            Call::Charge(attempt) => self.charge(gateway.as_ref(), attempt).await,
            Call::Ask(attempt) => self.ask(gateway.as_ref(), attempt).await,
        }
    }

    async fn settle(
        &self,
        tx: &mut UnitOfWork,
        answers: Vec<(Call, Answer)>,
    ) -> Result<(), Failure> {
        let outcomes = answers.into_iter().filter_map(|(call, answer)| {
            let payment = call.attempt().payment;
            answer.map(|outcome| (payment, outcome))
        });
        let outcomes: Vec<(PaymentId, Outcome)> = outcomes.collect();
        let now = outbox::clock::now();
        payment::settle_all(tx, &outcomes, now)
            .await
            .map_err(failure)
    }
}

impl Payments {
    /// The card is one of a gateway that this site does not have: another one is never asked.
    fn unconfigured(&self, attempt: &Attempt) -> Act<Answer> {
        let (payment, wanted) = (attempt.payment, &attempt.gateway);
        let names: Vec<&str> = self.gateways.names().collect();
        let names = names.join(", ");
        Act::Retry {
            error: format!(
                "{payment} is for a card of the gateway {wanted:?}, which is not configured here \
                 (there is: {names}): set BILLING_GATEWAY_URL, or add another card"
            ),
            after: Some(UNCONFIGURED_WAIT),
        }
    }
}

async fn send(gateway: &dyn Gateway, attempt: &Attempt) -> Result<Outcome, CallError> {
    let payment = match planted::is("B08") {
        true => PaymentId::new(),
        false => attempt.payment,
    };
    let charge = Charge {
        payment,
        token: attempt.token.clone(),
        money: attempt.money,
        description: attempt.description.clone(),
    };
    failpoint!("payment.before_charge").map_err(|error| CallError::NotSent(error.to_string()))?;
    let verdict = gateway.charge(&charge).await?;
    failpoint!("payment.charged").map_err(|error| CallError::Unknown(error.to_string()))?;
    Ok(Outcome::Verdict(verdict))
}

async fn burn(gateway: &dyn Gateway, payment: PaymentId) -> Result<Outcome, CallError> {
    Ok(match gateway.cancel(payment).await? {
        Cancelled::Burnt => Outcome::Cancelled("its key was burnt before it was used".to_owned()),
        Cancelled::Was(verdict) => Outcome::Verdict(verdict),
    })
}

fn answered(called: Result<Outcome, CallError>) -> Act<Answer> {
    let error = match called {
        Ok(outcome) => return Act::Answer(Some(outcome)),
        Err(error) => error,
    };
    let text = error.to_string();
    match error {
        CallError::NotSent(_) => Act::Unavailable {
            error: text,
            after: None,
        },
        CallError::Busy { after, .. } => Act::Unavailable { error: text, after },
        CallError::Unknown(_) if planted::is("B10") => Act::Answer(Some(Outcome::Cancelled(text))),
        CallError::Unknown(_) => Act::Answer(Some(Outcome::Unknown(text))),
        CallError::Cancelled => Act::Answer(Some(Outcome::Cancelled(text))),
        CallError::Refused(_) => Act::Answer(Some(Outcome::HandOver(text))),
    }
}

/// What is to be decided on, with its event, and what is to be asked for.
fn sorted(events: &[Event], wanted: &[Wanted]) -> (Vec<(InvoiceId, Uuid)>, Vec<PaymentId>) {
    let (mut invoices, mut payments) = (Vec::new(), Vec::new());
    for (event, wanted) in events.iter().zip(wanted) {
        match wanted {
            Wanted::Nothing => {}
            Wanted::Invoice(invoice) => invoices.push((*invoice, event.event_id)),
            Wanted::Payment(payment) => payments.push(*payment),
        }
    }
    (invoices, payments)
}

fn load_of(decision: Option<Decision>) -> Load<Call> {
    match decision.expect("there is a decision for each event") {
        Decision::Charge(attempt) => Load::Call(Call::Charge(attempt)),
        Decision::Ask(attempt) => Load::Call(Call::Ask(attempt)),
        Decision::Nothing(why) => Load::Obsolete(why),
    }
}

fn failure(error: PaymentError) -> Failure {
    match error.into_database() {
        Ok(error) => Failure::Database(error),
        Err(error) => Failure::retry(told(&error)),
    }
}
