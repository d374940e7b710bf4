//! The sink that only counts: for measuring everything but the mail.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use billing::notice::{Mail, Outcome};
use lettre::Message;
use outbox::{Act, Dedupe};

use super::Sink;

/// Counts mails and sends none.
#[derive(Debug, Clone, Default)]
pub struct Counting(Arc<AtomicU64>);

impl Counting {
    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Sink for Counting {
    const DEDUPE: Dedupe = Dedupe::IdempotentSink;

    async fn send(&self, _: &Mail, _: Message) -> Act<Outcome> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Act::Answer(Outcome::Sent)
    }
}
