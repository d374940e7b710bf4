//! A breaker: when the other side is down, its consumer waits instead of parking event after event.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::backoff::Backoff;

const OPEN: Backoff = Backoff {
    first: Duration::from_secs(1),
    cap: Duration::from_secs(60),
    attempts: i32::MAX,
};

/// Opens on trouble of the provider, for longer each time; one success closes it.
#[derive(Debug, Default)]
pub(crate) struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failures: i32,
    until: Option<Instant>,
}

impl Breaker {
    /// Opens, for `after` when the provider named a time. Answers how long.
    ///
    /// Calls that were under way when it opened fail for the same cause, and count once: eight of
    /// them would else make the first wait as long as the eighth.
    pub(crate) fn trip(&self, after: Option<Duration>) -> Duration {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(open), None) = (state.open_for(), after) {
            return open;
        }
        state.failures = state.failures.saturating_add(1);
        let wait = after.unwrap_or_else(|| OPEN.bound(state.failures));
        state.until = Some(Instant::now() + wait);
        wait
    }

    /// Closes: a call went through.
    pub(crate) fn reset(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = State::default();
    }

    /// How long it is still open.
    pub(crate) fn open_for(&self) -> Option<Duration> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.open_for()
    }
}

impl State {
    fn open_for(&self) -> Option<Duration> {
        let until = self.until?;
        until.checked_duration_since(Instant::now())
    }
}

/// Those of a process, by consumer: what its heartbeat tells of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Breakers(Arc<Mutex<HashMap<i16, Arc<Breaker>>>>);

impl Breakers {
    pub(crate) fn of(&self, consumer: i16) -> Arc<Breaker> {
        let mut breakers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(breakers.entry(consumer).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_that_fail_together_count_once() {
        let breaker = Breaker::default();

        let waits = [breaker.trip(None), breaker.trip(None), breaker.trip(None)];

        assert!(waits.iter().all(|wait| *wait <= OPEN.first), "{waits:?}");
    }

    #[test]
    fn a_failure_after_the_wait_opens_it_for_twice_as_long() {
        let breaker = Breaker::default();

        let first = breaker.trip(Some(Duration::ZERO));

        assert_eq!(first, Duration::ZERO);
        assert_eq!(breaker.trip(None), 2 * OPEN.first);
        breaker.reset();
        assert_eq!(breaker.trip(None), OPEN.first);
    }
}
