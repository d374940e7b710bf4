//! The calls of a round: at once within the consumer's concurrency, each on a task of its own, so
//! that a slow one can go on when its batch has waited long enough.
//!
//! Patience is counted from a call's own start: one that still waits for its turn is not slow.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use super::super::runner::panic_text;
use super::{Answers, Intents};
use crate::consumer::{Act, External, Failure};
use crate::event::Event;

/// What a call came to, with its intent.
pub(crate) enum Called<H: External> {
    Answer(H::Intent, H::Answer),
    Failed(Failure),
    Unavailable {
        error: String,
        after: Option<Duration>,
    },
}

/// A call that goes on.
pub(crate) struct Pending<H: External> {
    pub(crate) event: Event,
    call: JoinHandle<Called<H>>,
}

/// How to make calls.
pub(crate) struct Calls<H> {
    pub(crate) handler: Arc<H>,
    pub(crate) permits: Arc<Semaphore>,
    pub(crate) at_once: usize,
    pub(crate) timeout: Duration,
}

/// A round's results.
pub(crate) struct Made<H: External> {
    pub(crate) answers: Answers<H>,
    pub(crate) failed: Vec<(Event, Failure)>,
    pub(crate) unavailable: Option<(String, Option<Duration>)>,
    pub(crate) slow: Vec<Pending<H>>,
}

/// How a call stands when its batch goes on.
enum Stand<H: External> {
    Ended(Event, Called<H>),
    Slow(Pending<H>),
}

impl<H: External> Calls<H> {
    /// Makes the calls of a round and waits `patience` for each.
    pub(crate) async fn make(&self, intents: Intents<H>, patience: Duration) -> Made<H> {
        let mut stands = futures::stream::iter(intents)
            .map(|(event, intent)| self.stand(event, intent, patience))
            .buffer_unordered(self.at_once);
        let mut made = Made {
            answers: Vec::new(),
            failed: Vec::new(),
            unavailable: None,
            slow: Vec::new(),
        };
        while let Some(stand) = stands.next().await {
            match stand {
                Stand::Slow(call) => made.slow.push(call),
                Stand::Ended(_, Called::Answer(intent, answer)) => {
                    made.answers.push((intent, answer));
                }
                Stand::Ended(event, Called::Failed(failure)) => made.failed.push((event, failure)),
                Stand::Ended(_, Called::Unavailable { error, after }) => {
                    made.unavailable = Some((error, after));
                }
            }
        }
        made
    }

    async fn stand(&self, event: Event, intent: H::Intent, patience: Duration) -> Stand<H> {
        let mut call = self.start(event, intent).await;
        match tokio::time::timeout(patience, &mut call.call).await {
            Ok(joined) => Stand::Ended(call.event, settled(joined)),
            Err(_) => Stand::Slow(call),
        }
    }

    /// Waits for its turn and starts one call.
    pub(crate) async fn start(&self, event: Event, intent: H::Intent) -> Pending<H> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.expect("nobody closes the semaphore");
        let call = called(Arc::clone(&self.handler), intent, self.timeout, permit);
        Pending {
            event,
            call: tokio::spawn(call),
        }
    }
}

async fn called<H: External>(
    handler: Arc<H>,
    intent: H::Intent,
    timeout: Duration,
    _permit: OwnedSemaphorePermit,
) -> Called<H> {
    match tokio::time::timeout(timeout, handler.act(&intent)).await {
        Ok(Act::Answer(answer)) => Called::Answer(intent, answer),
        Ok(Act::Retry { error, after }) => Called::Failed(Failure::Retry { error, after }),
        Ok(Act::Dead(reason)) => Called::Failed(Failure::Dead(reason)),
        Ok(Act::Unavailable { error, after }) => Called::Unavailable { error, after },
        Err(_) => Called::Failed(Failure::retry(format!("no answer within {timeout:?}"))),
    }
}

impl<H: External> Pending<H> {
    /// Waits for the call's end.
    pub(crate) async fn wait(self) -> Called<H> {
        settled(self.call.await)
    }
}

fn settled<H: External>(joined: Result<Called<H>, tokio::task::JoinError>) -> Called<H> {
    joined.unwrap_or_else(|error| {
        let text = match error.try_into_panic() {
            Ok(panic) => panic_text(panic.as_ref()),
            Err(error) => error.to_string(),
        };
        Called::Failed(Failure::retry(text))
    })
}
