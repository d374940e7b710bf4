//! The handlers of a schedule: a notebook and a carrier that fail now and then, and calls of which
//! some are slow.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use outbox::{Act, ConsumerSpec, Failure, Worker, WorkerConfig};

use crate::scene::impatient;
use crate::schedule::Dice;
use crate::shop::{Carrier, Notebook};

/// How long a slow call takes, and how long its batch waits for it.
const SLOW: Duration = Duration::from_millis(400);
const WAITED: Duration = Duration::from_millis(150);

/// Each so many-th time that a handler is asked it fails, or is slow: shared by all workers.
#[derive(Clone)]
pub(super) struct Moods {
    fails: Beat,
    is_slow: Beat,
}

#[derive(Clone)]
struct Beat {
    asked: Arc<AtomicUsize>,
    every: usize,
}

impl Beat {
    fn of(every: usize) -> Self {
        let asked = Arc::default();
        Self { asked, every }
    }

    fn falls(&self) -> bool {
        (self.asked.fetch_add(1, Ordering::SeqCst) + 1).is_multiple_of(self.every)
    }
}

/// Whoever lost its connection may hold what it claimed until the claim runs out: soon.
pub(super) fn config() -> WorkerConfig {
    WorkerConfig {
        poll: Duration::from_millis(100),
        lease_s: 2,
        ..WorkerConfig::default()
    }
}

fn spec(consumer: &'static str) -> ConsumerSpec {
    ConsumerSpec {
        patience: WAITED,
        call_timeout: Duration::from_secs(2),
        ..impatient(consumer, 9)
    }
}

impl Moods {
    pub(super) fn drawn(dice: &mut Dice) -> Self {
        Self {
            fails: Beat::of(150 + dice.below(150)),
            is_slow: Beat::of(150 + dice.below(150)),
        }
    }

    pub(super) fn consumers(&self, worker: &mut Worker) {
        worker.transactional(spec("notebook"), self.notebook());
        worker.external(spec("carrier"), self.carrier());
    }

    fn notebook(&self) -> Notebook {
        let fails = self.fails.clone();
        Notebook::with("notebook", move |_| {
            let fails = fails.falls();
            async move {
                if fails {
                    return Err(Failure::retry("not now"));
                }
                Ok(())
            }
        })
    }

    fn carrier(&self) -> Carrier {
        let this = self.clone();
        Carrier::with(move |_| {
            let (fails, is_slow) = (this.fails.falls(), this.is_slow.falls());
            async move {
                if is_slow {
                    outbox::clock::pause(SLOW).await;
                }
                if fails {
                    let (error, after) = ("not now".to_owned(), None);
                    return Act::Retry { error, after };
                }
                Act::Answer("sent".to_owned())
            }
        })
    }
}
