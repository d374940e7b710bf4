//! The postman: brings webhooks to their receiver, signed, until it takes them.
//!
//! What is to be sent stands in the books, so that it outlives the program. An attempt is good when
//! the receiver answers 2xx; others follow after growing pauses, up to a bound.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::http::uri::Scheme;
use axum::http::{Uri, header};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::answer::Refusal;
use crate::books::{Books, Order, Outcome, Webhook};
use crate::client::Client;
use crate::clock;
use crate::signature::{SIGNATURE_HEADER, TIMESTAMP_HEADER, sign};

/// Longer than a receiver that stores the message takes.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
const ATTEMPTS_MAX: u32 = 16;
/// With the first pause of a second: about an hour until a webhook is given up.
const PAUSE_MAX: Duration = Duration::from_secs(300);
/// Messages on their way at once.
const CONCURRENCY: u32 = 32;
/// When the books cannot be read or written.
const TROUBLE_PAUSE: Duration = Duration::from_secs(1);

/// Where webhooks go.
#[derive(Clone)]
pub(crate) struct Receiver {
    pub(crate) url: Uri,
    pub(crate) secret: String,
    /// The pause after the first failed attempt; it doubles with each.
    pub(crate) first_pause: Duration,
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Receiver({})", self.url)
    }
}

impl Receiver {
    /// Whether the address is one that webhooks can be sent to: plain HTTP with a host.
    pub(crate) fn is_reachable(&self) -> bool {
        self.url.scheme() == Some(&Scheme::HTTP) && self.url.host().is_some()
    }
}

/// Sends webhooks and records what became of them.
#[derive(Debug)]
pub(crate) struct Postman {
    books: Books,
    receiver: Receiver,
    client: Client,
    woken: Notify,
}

impl Postman {
    pub(crate) fn new(books: Books, receiver: Receiver) -> Self {
        Self {
            books,
            receiver,
            client: Client::new(ATTEMPT_TIMEOUT),
            woken: Notify::new(),
        }
    }

    /// Tells that there is something to send.
    pub(crate) fn wake(&self) {
        self.woken.notify_one();
    }

    /// Sends what is due, until it is told to stop.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut round = Round::default();
        while !stop.is_cancelled() {
            let pause = match self.send_due(&mut round).await {
                Ok(next) => next,
                // Why is logged where it failed.
                Err(_) => Some(TROUBLE_PAUSE),
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.woken.notified() => {}
                Some(ended) = round.running.join_next() => round.note(ended),
                () = clock::pause(pause.unwrap_or(Duration::MAX)), if pause.is_some() => {}
            }
        }
    }

    /// Starts to send what is due, as much as may be on its way at once; tells how long until more
    /// is due, if that is known.
    async fn send_due(self: &Arc<Self>, round: &mut Round) -> Result<Option<Duration>, Refusal> {
        while let Some(ended) = round.running.try_join_next() {
            round.note(ended);
        }
        let now = self.books.clock.now();
        // Those on their way are still due in the books.
        let (due, next) = self.books.lookup.webhooks_due(now, CONCURRENCY).await?;
        for webhook in due {
            if round.running.len() < CONCURRENCY as usize && round.on_their_way.insert(webhook.seq)
            {
                let postman = Arc::clone(self);
                round
                    .running
                    .spawn(async move { postman.attempt(&webhook).await });
            }
        }
        Ok(next.map(|next| next.since(now)))
    }

    /// Attempts each of them once and records how it went.
    pub(crate) async fn attempt_all(&self, webhooks: &[Webhook]) {
        for webhook in webhooks {
            self.attempt(webhook).await;
        }
    }

    async fn attempt(&self, webhook: &Webhook) -> i64 {
        let outcome = match self.post(webhook).await {
            Ok(()) => Outcome::Delivered,
            Err(reason) => self.after_failure(webhook, &reason),
        };
        let seq = webhook.seq;
        let recorded = self
            .books
            .writer
            .write(Order::Delivery { seq, outcome })
            .await;
        if recorded.is_err() {
            // It is still due in the books, and the receiver knows its id.
            warn!(webhook.seq = seq, "Webhook {seq} may be sent once more");
        }
        seq
    }

    async fn post(&self, webhook: &Webhook) -> Result<(), String> {
        let timestamp = clock::now().unix_seconds().to_string();
        let signature = sign(&self.receiver.secret, &timestamp, &webhook.body);
        let headers = [
            (header::CONTENT_TYPE.as_str(), "application/json"),
            (TIMESTAMP_HEADER, &timestamp),
            (SIGNATURE_HEADER, &signature),
        ];
        let body = webhook.body.clone();
        let answer = self.client.post(&self.receiver.url, &headers, body).await;
        match answer {
            Ok(status) if status.is_success() => Ok(()),
            Ok(status) => Err(format!("the receiver answered {status}")),
            Err(error) => Err(error.to_string()),
        }
    }

    fn after_failure(&self, webhook: &Webhook, reason: &str) -> Outcome {
        let (seq, attempt) = (webhook.seq, webhook.attempts + 1);
        if attempt >= ATTEMPTS_MAX {
            warn!(webhook.seq = seq, "Webhook {seq} is given up: {reason}");
            return Outcome::Dead;
        }
        debug!(
            webhook.seq = seq,
            attempt, "Webhook {seq} not delivered: {reason}"
        );
        let doubled = self
            .receiver
            .first_pause
            .saturating_mul(1 << webhook.attempts.min(30));
        Outcome::Retry(clock::now().after(doubled.min(PAUSE_MAX)))
    }
}

/// What is on its way.
#[derive(Default)]
struct Round {
    running: JoinSet<i64>,
    on_their_way: BTreeSet<i64>,
}

impl Round {
    fn note(&mut self, ended: Result<i64, tokio::task::JoinError>) {
        match ended {
            Ok(seq) => {
                self.on_their_way.remove(&seq);
            }
            Err(error) => warn!("A webhook was not sent: {error}"),
        }
    }
}
