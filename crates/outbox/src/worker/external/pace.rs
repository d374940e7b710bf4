//! How much is taken in hand at once: as many events as their calls will take in a moment.
//!
//! A batch shares two transactions, so quick calls want large ones. A batch ends within twice the
//! patience whatever its calls do, because its claim must not run out and a stop waits for it: so
//! slow calls want small ones.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use uuid::Uuid;

use crate::event::Event;
use crate::mutant::{self, Mutant};

/// Beyond that nothing is saved, and the locks of its transactions are held for too long.
const BATCH_MAX: usize = 500;

/// As many as are called for within the patience, even if each call takes all of it.
pub(super) fn batch_min(concurrency: usize) -> usize {
    concurrency.saturating_mul(2).clamp(1, BATCH_MAX)
}

/// The size of the next batch.
#[derive(Debug)]
pub(super) struct Pace {
    batch_min: usize,
    batch_max: AtomicUsize,
}

impl Pace {
    /// Begins as if all calls took all the patience.
    pub(super) fn new(concurrency: usize) -> Self {
        let batch_min = batch_min(concurrency);
        Self {
            batch_min,
            batch_max: batch_min.into(),
        }
    }

    pub(super) fn batch_max(&self) -> usize {
        self.batch_max.load(Ordering::Relaxed)
    }

    /// Learns from a batch: twice as many after one that took little of the patience, half as many
    /// after one that took most of it.
    pub(super) fn took(&self, events: usize, time: Duration, patience: Duration) {
        let max = self.batch_max();
        let next = if time > patience / 2 {
            max / 2
        } else if time < patience / 8 && events == max {
            max * 2
        } else {
            max
        };
        let next = next.clamp(self.batch_min, BATCH_MAX);
        self.batch_max.store(next, Ordering::Relaxed);
    }
}

/// The k-th event of each key is in round k: events of one key are never called for at once.
pub(super) fn rounds(events: &[Event]) -> Vec<Vec<Event>> {
    if mutant::is(Mutant::OneRound) {
        return vec![events.to_vec()];
    }
    let mut seen: HashMap<Uuid, usize> = HashMap::new();
    let mut rounds: Vec<Vec<Event>> = Vec::new();
    for event in events {
        let round = seen.entry(event.key).or_default();
        if rounds.len() == *round {
            rounds.push(Vec::new());
        }
        rounds[*round].push(event.clone());
        *round += 1;
    }
    rounds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quick_calls_are_taken_by_the_hundred_and_slow_ones_by_the_handful() {
        let (pace, patience) = (Pace::new(8), Duration::from_secs(4));
        let mut took = |ms| {
            pace.took(pace.batch_max(), Duration::from_millis(ms), patience);
            pace.batch_max()
        };

        assert_eq!([10; 6].map(&mut took), [32, 64, 128, 256, 500, 500]);
        assert_eq!([1_000; 2].map(&mut took), [500, 500]);
        assert_eq!([4_000; 6].map(&mut took), [250, 125, 62, 31, 16, 16]);
    }

    #[test]
    fn a_batch_that_was_not_full_says_nothing_of_larger_ones() {
        let pace = Pace::new(8);

        pace.took(3, Duration::ZERO, Duration::from_secs(4));

        assert_eq!(pace.batch_max(), 16);
    }
}
