//! Waiting for a state to come true, however it comes about.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::time::{MissedTickBehavior, interval, timeout};

/// How often a wait looks again.
const POLL: Duration = Duration::from_millis(10);

/// Looks again and again until `look` finds something, and returns it.
///
/// Level-triggered: it looks at the state, so that nothing is missed that happened before the wait.
///
/// # Errors
/// When `patience` is over; the message says that we waited for `what`.
pub async fn until<T>(
    what: &str,
    patience: Duration,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> Result<T> {
    let search = async {
        let mut ticks = interval(POLL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Some(found) = look().await {
                return found;
            }
        }
    };
    let found = timeout(patience, search).await;
    found.with_context(|| format!("waited {patience:?} in vain for {what}"))
}
