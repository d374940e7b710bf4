//! A breaker: when the other side is down, its consumer waits instead of parking event after event.

use std::sync::{Mutex, PoisonError};
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
    pub(crate) fn trip(&self, after: Option<Duration>) -> Duration {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
        state
            .until
            .and_then(|until| until.checked_duration_since(Instant::now()))
    }
}
