//! Loops that must not end before they are told to: one that panics is started again.

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

const AFTER_PANIC: Duration = Duration::from_secs(1);

/// Runs a loop, and runs it again should it panic: nothing stops silently.
pub(crate) async fn supervised<F>(
    name: &'static str,
    shutdown: CancellationToken,
    start: impl Fn() -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        match AbortOnDropHandle::new(tokio::spawn(start())).await {
            Ok(()) => return,
            Err(error) => {
                tracing::error!(%error, "A loop of the {name} panicked; starting it again");
            }
        }
        if shutdown.is_cancelled() {
            return;
        }
        pause(&shutdown, AFTER_PANIC).await;
    }
}

/// Waits, unless it is time to stop.
pub(crate) async fn pause(shutdown: &CancellationToken, time: Duration) {
    // Both outcomes mean the same: go on and look.
    drop(tokio::time::timeout(time, shutdown.cancelled()).await);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_loop_that_panics_is_started_again_until_it_is_told_to_stop() {
        let shutdown = CancellationToken::new();
        let starts = Arc::new(AtomicUsize::new(0));
        let (count, stop) = (Arc::clone(&starts), shutdown.clone());

        supervised("test", shutdown, move || {
            let (nth, stop) = (count.fetch_add(1, Ordering::Relaxed), stop.clone());
            async move {
                assert!(nth > 0, "the first panics");
                stop.cancel();
            }
        })
        .await;

        assert_eq!(starts.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn a_loop_that_panics_at_the_stop_is_not_started_again() {
        let shutdown = CancellationToken::new();
        let starts = Arc::new(AtomicUsize::new(0));
        let (count, stop) = (Arc::clone(&starts), shutdown.clone());

        supervised("test", shutdown, move || {
            count.fetch_add(1, Ordering::Relaxed);
            let stop = stop.clone();
            async move {
                stop.cancel();
                panic!("while it stops");
            }
        })
        .await;

        assert_eq!(starts.load(Ordering::Relaxed), 1);
    }
}
