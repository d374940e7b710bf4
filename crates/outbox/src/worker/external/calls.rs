//! The calls of a round: at once within the consumer's concurrency, each on a task of its own, so
//! that a slow one can go on when its batch has waited long enough.
//!
//! Patience is counted from a call's own start: one that still waits for its turn is not slow. It
//! ends early where nearly all calls of a round have ended: what these took is waited once more,
//! and no longer, because all shards of the consumer wait for the slowest call of a page.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use super::super::in_hand::Held;
use super::super::runner::panic_text;
use super::{Answers, Intents, pace};
use crate::clock::{self, micros};
use crate::consumer::{Act, External, Failure};
use crate::delivery::Parking;
use crate::event::Event;
use crate::failpoint;
use crate::throttle::{TakeError, Tokens};
use crate::trace;

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
    /// From when it has a delivery row.
    pub(crate) held: Option<Held>,
    call: JoinHandle<Called<H>>,
}

/// How to make calls.
pub(crate) struct Calls<H> {
    pub(crate) consumer: &'static str,
    pub(crate) handler: Arc<H>,
    pub(crate) permits: Arc<Semaphore>,
    pub(crate) at_once: usize,
    pub(crate) timeout: Duration,
    pub(crate) patience: Duration,
    pub(crate) tokens: Option<Tokens>,
}

/// A round's results.
pub(crate) struct Made<H: External> {
    pub(crate) answers: Answers<H>,
    pub(crate) failed: Vec<(Event, Failure)>,
    pub(crate) unavailable: Vec<Refused>,
    pub(crate) slow: Vec<Pending<H>>,
    /// What there was no time to call for.
    pub(crate) left: Vec<Event>,
}

/// A call that the other side did not take.
pub(crate) struct Refused {
    pub(crate) event: Event,
    pub(crate) error: String,
    pub(crate) after: Option<Duration>,
}

/// Of so many calls that were answered one may be turned away, and the other side is not down; of
/// so many that were made one may be slow, and nearly all have ended.
const FEW: usize = 20;
/// No call is slow before, however quick the others were.
const SLOW_MIN: Duration = Duration::from_millis(100);
/// How long one that was turned away waits, unless the other side said.
const TURNED_AWAY: Duration = Duration::from_secs(1);

impl Refused {
    pub(crate) fn parking(&self) -> Parking {
        Parking::TurnedAway {
            error: self.error.clone(),
            wait_us: micros(self.after.unwrap_or(TURNED_AWAY)),
        }
    }
}

impl<H: External> Made<H> {
    fn new() -> Self {
        Self {
            answers: Vec::new(),
            failed: Vec::new(),
            unavailable: Vec::new(),
            slow: Vec::new(),
            left: Vec::new(),
        }
    }

    fn add(&mut self, stand: Stand<H>) {
        match stand {
            Stand::Slow(call) => self.slow.push(call),
            Stand::Left(event) => self.left.push(event),
            Stand::Ended(_, Called::Answer(intent, answer)) => self.answers.push((intent, answer)),
            Stand::Ended(event, Called::Failed(failure)) => self.failed.push((event, failure)),
            Stand::Ended(event, Called::Unavailable { error, after }) => {
                self.unavailable.push(Refused {
                    event,
                    error,
                    after,
                });
            }
        }
    }

    /// Whether the other side takes calls, only not these.
    pub(crate) fn few_turned_away(&self) -> bool {
        self.unavailable.len() * FEW <= self.answers.len()
    }
}

/// How a call stands when its batch goes on.
enum Stand<H: External> {
    Ended(Event, Called<H>),
    Slow(Pending<H>),
    Left(Event),
}

impl<H: External> Calls<H> {
    /// Makes the calls of a round, and waits `patience` for each. After as much time again it
    /// begins no more, except for the first few, so that every round gets somewhere: one, where a
    /// throttle says how many.
    pub(crate) async fn make(&self, intents: Intents<H>) -> Made<H> {
        let (began, calls) = (Instant::now(), intents.len());
        let until = began + self.patience;
        let few = pace::batch_min(self.at_once);
        let first = self.tokens.as_ref().map_or(few, |_| 1);
        let hurry = CancellationToken::new();
        let mut stands = futures::stream::iter(intents.into_iter().enumerate())
            .map(|(nth, intent)| self.stand(intent, (nth >= first).then_some(until), &hurry))
            .buffer_unordered(self.at_once);
        let (mut made, mut ended) = (Made::new(), 0);
        while let Some(stand) = stands.next().await {
            made.add(stand);
            ended += 1;
            if (calls - ended) * FEW <= calls {
                break;
            }
        }
        let once_more = Instant::now() + began.elapsed();
        while let Some(stand) = before(once_more, &hurry, stands.next()).await {
            made.add(stand);
        }
        drop(stands);
        made
    }

    async fn stand(
        &self,
        (event, intent): (Event, H::Intent),
        until: Option<Instant>,
        hurry: &CancellationToken,
    ) -> Stand<H> {
        let Some(permit) = self.turn(until).await else {
            return Stand::Left(event);
        };
        match (self.token().await, until) {
            (Ok(()), _) => {}
            (Err(_), Some(_)) => return Stand::Left(event),
            (Err(error), None) => return Stand::Ended(event, not_allowed(&error)),
        }
        let began = Instant::now();
        let mut call = self.begin((event, intent), permit);
        let hurried = async {
            hurry.cancelled().await;
            clock::pause(SLOW_MIN.saturating_sub(began.elapsed())).await;
        };
        tokio::select! {
            biased;
            joined = &mut call.call => Stand::Ended(call.event, settled(joined)),
            () = clock::pause(self.patience) => Stand::Slow(call),
            () = hurried => Stand::Slow(call),
        }
    }

    /// Its turn, unless it does not come in time: slow calls keep their places while they go on.
    async fn turn(&self, until: Option<Instant>) -> Option<OwnedSemaphorePermit> {
        let Some(until) = until else {
            return Some(self.permit().await);
        };
        let left = until.checked_duration_since(Instant::now())?;
        tokio::time::timeout(left, self.permit()).await.ok()
    }

    async fn permit(&self) -> OwnedSemaphorePermit {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        permit.expect("nobody closes the semaphore")
    }

    /// Its share of the provider's rate. A claim waits no longer than its calls' patience for it.
    async fn token(&self) -> Result<(), TakeError> {
        match &self.tokens {
            Some(tokens) => tokens.take(Instant::now() + self.patience).await,
            None => Ok(()),
        }
    }

    /// Waits for its turn, makes one call and waits for its end.
    pub(crate) async fn call(&self, event: Event, intent: H::Intent) -> Called<H> {
        let permit = self.permit().await;
        match self.token().await {
            Ok(()) => self.begin((event, intent), permit).wait().await,
            Err(error) => not_allowed(&error),
        }
    }

    fn begin(
        &self,
        (event, intent): (Event, H::Intent),
        permit: OwnedSemaphorePermit,
    ) -> Pending<H> {
        let call = called(Arc::clone(&self.handler), intent, self.timeout, permit);
        let span = trace::calling(self.consumer, &event);
        let call = pausing(self.tokens.clone(), call).instrument(span);
        Pending {
            event,
            held: None,
            call: tokio::spawn(call),
        }
    }
}

/// Waits for what is next; from that instant on in a hurry.
async fn before<T>(
    instant: Instant,
    hurry: &CancellationToken,
    next: impl Future<Output = T>,
) -> T {
    let mut next = std::pin::pin!(next);
    if !hurry.is_cancelled() {
        tokio::select! {
            biased;
            next = &mut next => return next,
            () = clock::pause(instant.saturating_duration_since(Instant::now())) => hurry.cancel(),
        }
    }
    next.await
}

/// The provider is not asked: as if it had said so itself.
fn not_allowed<H: External>(error: &TakeError) -> Called<H> {
    let after = match error {
        TakeError::NotInTime(wait) => Some(*wait),
        TakeError::Database(_) => None,
    };
    let error = error.to_string();
    Called::Unavailable { error, after }
}

/// A provider that says when it wants to be asked again says it to all processes.
async fn pausing<H: External>(
    tokens: Option<Tokens>,
    call: impl Future<Output = Called<H>>,
) -> Called<H> {
    let called = call.await;
    if let (Some(tokens), Called::Unavailable { after, .. }) = (&tokens, &called)
        && let Some(after) = after
        && let Err(error) = tokens.pause(*after).await
    {
        tracing::warn!(%error, "The other processes do not know that the provider wants a pause");
    }
    called
}

async fn called<H: External>(
    handler: Arc<H>,
    intent: H::Intent,
    timeout: Duration,
    _permit: OwnedSemaphorePermit,
) -> Called<H> {
    let called = match tokio::time::timeout(timeout, act(&*handler, &intent)).await {
        Ok(Ok(Act::Answer(answer))) => Called::Answer(intent, answer),
        Ok(Ok(Act::Retry { error, after })) => Called::Failed(Failure::Retry { error, after }),
        Ok(Ok(Act::Dead(reason))) => Called::Failed(Failure::Dead(reason)),
        Ok(Ok(Act::Unavailable { error, after })) => Called::Unavailable { error, after },
        Ok(Err(error)) => Called::Failed(error.into()),
        Err(_) => Called::Failed(Failure::retry(format!("no answer within {timeout:?}"))),
    };
    match &called {
        Called::Answer(..) => {}
        Called::Failed(failure) => trace::failed(&Span::current(), failure),
        Called::Unavailable { error, .. } => trace::failed(&Span::current(), error),
    }
    called
}

async fn act<H: External>(handler: &H, intent: &H::Intent) -> Result<Act<H::Answer>, sqlx::Error> {
    failpoint!("call.before")?;
    let act = handler.act(intent).await;
    failpoint!("call.after")?;
    Ok(act)
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
