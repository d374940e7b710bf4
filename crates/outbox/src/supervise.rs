//! Loops that must not end before they are told to: one that panics is started again.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::restore::{RestoreError, refuse_foreign_log};

/// Why a relay or a worker did not start, or stopped before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The log must not be read on here.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// The database's.
    #[error("the database could not be asked")]
    Database(#[from] sqlx::Error),
    /// Wake-ups cannot be heard.
    #[error("no socket could be opened for wake-ups")]
    Socket(#[from] std::io::Error),
}

/// What stops a process by itself: a database that came back as another one.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    pool: PgPool,
    stop: CancellationToken,
    found: Arc<Mutex<Option<RestoreError>>>,
}

impl Watch {
    /// Looks once. What it stops must have been given [`Self::stop`].
    pub(crate) async fn begin(
        pool: &PgPool,
        shutdown: &CancellationToken,
    ) -> Result<Self, RestoreError> {
        refuse_foreign_log(pool).await?;
        Ok(Self {
            pool: pool.clone(),
            stop: shutdown.child_token(),
            found: Arc::default(),
        })
    }

    pub(crate) fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Looks again and again: a pool replaces connections without a word.
    pub(crate) async fn keep_looking(self) {
        while !self.stop.is_cancelled() {
            pause(&self.stop, BETWEEN_LOOKS).await;
            self.look().await;
        }
    }

    /// Looks again, after the connection was lost. False while nobody can be asked.
    pub(crate) async fn look(&self) -> bool {
        match refuse_foreign_log(&self.pool).await {
            Ok(()) => true,
            Err(error) if error.is_final() => {
                tracing::error!(%error, "Stopping: {error}");
                *self.found() = Some(error);
                self.stop.cancel();
                false
            }
            Err(_) => false,
        }
    }

    /// What was found.
    pub(crate) fn end(&self) -> Result<(), RunError> {
        match self.found().take() {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }

    fn found(&self) -> MutexGuard<'_, Option<RestoreError>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const BETWEEN_LOOKS: Duration = Duration::from_secs(10);
const AFTER_PANIC: Duration = Duration::from_secs(1);
/// A step that takes longer is reported, again and again.
pub(crate) const SILENCE: Duration = Duration::from_secs(60);

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

/// Reports a step that takes long, with how long: what hangs must not do it silently.
pub(crate) async fn watched<T>(
    step: impl Future<Output = T>,
    silence: Duration,
    report: impl Fn(Duration),
) -> T {
    let mut step = std::pin::pin!(step);
    let began = Instant::now();
    loop {
        match tokio::time::timeout(silence, &mut step).await {
            Ok(done) => return done,
            Err(_) => report(began.elapsed()),
        }
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

    #[tokio::test]
    async fn a_step_that_makes_no_progress_is_reported_until_it_does() {
        let silence = Duration::from_millis(1);
        let (report, mut reports) = tokio::sync::mpsc::unbounded_channel();
        let stuck = async {
            let first = reports.recv().await.unwrap();
            (first, reports.recv().await.unwrap())
        };

        let (first, second) = watched(stuck, silence, |time| report.send(time).unwrap()).await;

        assert!(first >= silence && second > first, "{first:?} {second:?}");
    }

    #[tokio::test]
    async fn a_step_that_ends_is_not_reported() {
        let report = |time| panic!("reported after {time:?}");
        assert_eq!(watched(async { 7 }, SILENCE, report).await, 7);
    }
}
