//! What becomes of an event whose attempt failed: when it is tried again, when it is a dead letter,
//! and what is said of it.

use std::time::Duration;

use super::Subscription;
use crate::clock::micros;
use crate::consumer::Failure;
use crate::delivery::Parking;
use crate::delivery::claim::{Claim, Ending};
use crate::event::Event;
use crate::metrics;
use crate::trouble::is_transient;

/// How often an event of a newer version asks whether the deploy has come.
const DEPLOY: Duration = Duration::from_secs(30);

/// How a failed first attempt is parked.
pub(crate) fn parking_of(subscription: &Subscription, failure: &Failure) -> Parking {
    match failure {
        Failure::Dead(reason) => Parking::Dead {
            reason: reason.clone(),
        },
        Failure::Newer(error) => Parking::Newer {
            error: error.clone(),
            wait_us: micros(DEPLOY),
        },
        Failure::Retry { error, after } => failed(subscription, error.clone(), *after),
        Failure::Database(error) => failed(subscription, full_text(error), None),
    }
}

fn failed(subscription: &Subscription, error: String, after: Option<Duration>) -> Parking {
    if subscription.spec.backoff.attempts <= 1 {
        return Parking::Dead { reason: error };
    }
    let wait = after.unwrap_or_else(|| subscription.spec.backoff.wait(1, random()));
    Parking::Failed {
        error,
        wait_us: micros(wait),
    }
}

/// Ends a delivery whose later attempt failed, and says so unless it is another's by now.
pub(crate) async fn end(
    subscription: &Subscription,
    claim: &Claim,
    failure: Failure,
) -> Result<(), sqlx::Error> {
    let ending = ending_of(subscription, claim, failure);
    if claim.end(&subscription.context.outbox, &ending).await? {
        report_end(subscription, claim, &ending);
    }
    Ok(())
}

/// How a failed later attempt ends.
fn ending_of(subscription: &Subscription, claim: &Claim, failure: Failure) -> Ending {
    let (error, after) = match failure {
        Failure::Dead(reason) => return Ending::Dead { reason },
        Failure::Newer(error) => return uncounted(error, DEPLOY),
        Failure::Retry { error, after } => (error, after),
        Failure::Database(error) if is_transient(&error) => {
            return uncounted(full_text(&error), Duration::from_secs(1));
        }
        Failure::Database(error) => (full_text(&error), None),
    };
    let backoff = subscription.spec.backoff;
    if claim.attempt >= backoff.attempts {
        return Ending::Dead {
            reason: format!("{} attempts failed, the last: {error}", claim.attempt),
        };
    }
    let wait = after.unwrap_or_else(|| backoff.wait(claim.attempt, random()));
    Ending::Retry {
        error,
        wait_us: micros(wait),
        counted: true,
    }
}

/// An attempt that was not the event's fault.
pub(crate) fn uncounted(error: String, wait: Duration) -> Ending {
    Ending::Retry {
        error,
        wait_us: micros(wait),
        counted: false,
    }
}

/// Says and counts what became of an event's first attempt.
pub(crate) fn report(subscription: &Subscription, event: &Event, parking: &Parking) {
    if let Parking::Dead { reason } = parking {
        return report_dead(subscription, event, reason);
    }
    metrics::parked(subscription.spec.name, parking.why());
    let (consumer, event_id, topic) = (subscription.spec.name, event.event_id, &event.topic);
    match parking {
        Parking::Failed { error, .. } => tracing::warn!(
            consumer, %event_id, topic, error,
            "{consumer} failed on event {event_id}, retrying"
        ),
        Parking::Newer { error, .. } => tracing::warn!(
            consumer, %event_id, topic, error,
            "{consumer} is too old for event {event_id}: {error}"
        ),
        Parking::TurnedAway { error, .. } => tracing::info!(
            consumer, %event_id, topic, error,
            "{consumer} was turned away with event {event_id}, which is tried again soon"
        ),
        Parking::Running { .. } => tracing::info!(
            consumer, %event_id, topic,
            "A call of {consumer} for event {event_id} is slow and goes on alone"
        ),
        Parking::Behind | Parking::Dead { .. } => {}
    }
}

fn report_end(subscription: &Subscription, claim: &Claim, ending: &Ending) {
    let (consumer, event) = (subscription.spec.name, &claim.event);
    let (event_id, topic, attempt) = (event.event_id, &event.topic, claim.attempt);
    match ending {
        Ending::Dead { reason } => report_dead(subscription, event, reason),
        Ending::Retry { error, counted, .. } if *counted => tracing::warn!(
            consumer, %event_id, topic, attempt, error,
            "{consumer} failed on event {event_id} in attempt {attempt}, retrying"
        ),
        Ending::Retry { error, .. } => tracing::debug!(
            consumer, %event_id, topic, error,
            "Event {event_id} still waits for {consumer}"
        ),
    }
}

/// A dead letter is what somebody has to look at, whether it was given up at once or in the end.
fn report_dead(subscription: &Subscription, event: &Event, reason: &str) {
    let (consumer, event_id, topic) = (subscription.spec.name, event.event_id, &event.topic);
    metrics::parked(consumer, "dead");
    tracing::error!(
        consumer, %event_id, topic, reason,
        "{consumer} gave up on event {event_id}: a dead letter"
    );
}

/// The error with its causes.
fn full_text(error: &sqlx::Error) -> String {
    let detail = match error {
        sqlx::Error::Database(error) => error.constraint().map(|name| format!(" ({name})")),
        _ => None,
    };
    format!("{error}{}", detail.unwrap_or_default())
}

/// Jitter needs no better source than the random bits of an id.
fn random() -> u64 {
    crate::ids::new().as_u64_pair().1
}
