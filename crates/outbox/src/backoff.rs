//! Backoff: how long a failed attempt waits before the next one.

use std::time::Duration;

/// Exponential, capped, with full jitter: a crowd that failed together does not come back together
/// (Brooker, [Exponential Backoff And Jitter][source], 2015).
///
/// By default the bounds are a second, two, four and so on up to an hour, and the twentieth attempt
/// is the last: about four hours after the first, as the waits fall on average.
///
/// [source]: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The bound of the first wait; each later one is twice as long.
    pub first: Duration,
    /// No bound grows beyond this.
    pub cap: Duration,
    /// After so many attempts, the first included, an event is a dead letter.
    pub attempts: i32,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            cap: Duration::from_secs(3600),
            attempts: 20,
        }
    }
}

impl Backoff {
    /// The longest wait after attempt `attempt` (the first is 1).
    #[must_use]
    pub fn bound(&self, attempt: i32) -> Duration {
        let doublings = u32::try_from(attempt.saturating_sub(1))
            .unwrap_or(0)
            .min(30);
        self.first.saturating_mul(1 << doublings).min(self.cap)
    }

    /// A wait drawn evenly from zero to [`Backoff::bound`]. The draw is the caller's: `random` is
    /// any number, such as the random half of a UUID.
    #[must_use]
    pub fn wait(&self, attempt: i32, random: u64) -> Duration {
        let bound = u64::try_from(self.bound(attempt).as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(random % bound.saturating_add(1).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_doubles_up_to_the_cap() {
        let backoff = Backoff {
            cap: Duration::from_secs(10),
            ..Backoff::default()
        };
        let bounds: Vec<_> = (1..=6).map(|n| backoff.bound(n).as_secs()).collect();
        assert_eq!(bounds, [1, 2, 4, 8, 10, 10]);
        assert_eq!(backoff.bound(i32::MAX).as_secs(), 10);
    }

    #[test]
    fn a_wait_never_exceeds_its_bound() {
        let backoff = Backoff::default();
        for random in [0, 1, 999_999, 1_000_000, u64::MAX] {
            assert!(backoff.wait(1, random) <= backoff.bound(1));
        }
    }
}
