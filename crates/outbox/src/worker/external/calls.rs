//! The calls of a round: at once within the consumer's concurrency, each on a task of its own, so
//! that a slow one can go on when its batch has waited long enough.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::Instant;

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
    pub(crate) timeout: Duration,
}

/// A round's results.
pub(crate) struct Made<H: External> {
    pub(crate) answers: Answers<H>,
    pub(crate) failed: Vec<(Event, Failure)>,
    pub(crate) unavailable: Option<(String, Option<Duration>)>,
    pub(crate) slow: Vec<Pending<H>>,
}

impl<H: External> Calls<H> {
    /// Makes the calls of a round and waits `patience` for them.
    pub(crate) async fn make(&self, intents: Intents<H>, patience: Duration) -> Made<H> {
        let pending: Vec<_> = intents
            .into_iter()
            .map(|(event, intent)| self.start(event, intent))
            .collect();
        let mut made = Made {
            answers: Vec::new(),
            failed: Vec::new(),
            unavailable: None,
            slow: Vec::new(),
        };
        let until = Instant::now() + patience;
        for mut call in pending {
            match tokio::time::timeout_at(until, &mut call.call).await {
                Err(_) => made.slow.push(call),
                Ok(joined) => match settled(joined) {
                    Called::Answer(intent, answer) => made.answers.push((intent, answer)),
                    Called::Failed(failure) => made.failed.push((call.event, failure)),
                    Called::Unavailable { error, after } => made.unavailable = Some((error, after)),
                },
            }
        }
        made
    }

    /// Starts one call.
    pub(crate) fn start(&self, event: Event, intent: H::Intent) -> Pending<H> {
        let (handler, permits) = (Arc::clone(&self.handler), Arc::clone(&self.permits));
        let timeout = self.timeout;
        let call = tokio::spawn(async move {
            let Ok(_permit) = permits.acquire_owned().await else {
                return Called::Failed(Failure::retry("the worker is stopping"));
            };
            match tokio::time::timeout(timeout, handler.act(&intent)).await {
                Ok(Act::Answer(answer)) => Called::Answer(intent, answer),
                Ok(Act::Retry { error, after }) => Called::Failed(Failure::Retry { error, after }),
                Ok(Act::Dead(reason)) => Called::Failed(Failure::Dead(reason)),
                Ok(Act::Unavailable { error, after }) => Called::Unavailable { error, after },
                Err(_) => Called::Failed(Failure::retry(format!("no answer within {timeout:?}"))),
            }
        });
        Pending { event, call }
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
