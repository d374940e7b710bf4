//! Loops that must not end before they are told to: one that panics is started again.

use std::future::Future;
use std::io;
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
        match answered(LOOKS_WITHIN, refuse_foreign_log(&self.pool)).await {
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
/// Whoever is asked whether this is still our log answers within this, or another is asked.
const LOOKS_WITHIN: Duration = Duration::from_secs(10);
const AFTER_PANIC: Duration = Duration::from_secs(1);
/// A step that takes longer is given up, the first time.
pub(crate) const SILENCE: Duration = Duration::from_secs(30);
/// How much longer a step may take that was under way when the stop was asked for.
pub(crate) const LAST_STEP: Duration = Duration::from_secs(15);

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

/// How long a step of a loop may take that asks the database.
///
/// A network may swallow a connection without telling either side, and sqlx 0.9 sets no keepalive:
/// a loop that waited on would do nothing for ever, in a process that looks alive. A step that is
/// given up is as good as killed there: what it had not committed is rolled back. The next one may
/// take twice as long, so that one that is only slow comes to its end.
#[derive(Debug)]
pub(crate) struct StepLimit {
    first: Duration,
    next: Duration,
}

impl StepLimit {
    /// For steps that make calls besides, which take so long together.
    pub(crate) fn beside(calls: Duration) -> Self {
        Self::of(SILENCE + calls)
    }

    pub(crate) fn of(first: Duration) -> Self {
        let next = first;
        Self { first, next }
    }

    /// The end of a step, or the error that the database does not answer.
    ///
    /// # Errors
    /// The step's; `TimedOut` when it was given up.
    pub(crate) async fn on<T, E: From<sqlx::Error>>(
        &mut self,
        shutdown: &CancellationToken,
        step: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let began = Instant::now();
        let too_late = async {
            shutdown.cancelled().await;
            crate::clock::pause(LAST_STEP).await;
        };
        tokio::select! {
            done = step => {
                self.next = self.first.max(2 * began.elapsed());
                done
            }
            () = crate::clock::pause(self.next) => {
                self.next *= 2;
                Err(silent(began.elapsed()).into())
            }
            () = too_late => Err(silent(began.elapsed()).into()),
        }
    }
}

/// What a database says that says nothing.
fn silent(time: Duration) -> sqlx::Error {
    let error = format!("no answer from the database within {} s", time.as_secs());
    sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, error))
}

/// The end of something short, or the error that the database does not answer.
///
/// # Errors
/// Its own; `TimedOut`.
pub(crate) async fn answered<T, E: From<sqlx::Error>>(
    within: Duration,
    question: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let answer = tokio::time::timeout(within, question).await;
    answer.unwrap_or_else(|_| Err(silent(within).into()))
}

/// Waits, unless it is time to stop.
pub(crate) async fn pause(shutdown: &CancellationToken, time: Duration) {
    // Both outcomes mean the same: go on and look.
    drop(tokio::time::timeout(time, shutdown.cancelled()).await);
}

#[cfg(test)]
mod tests {
    use std::future;
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

    const SOON: Duration = Duration::from_millis(1);

    fn is_silence<T: std::fmt::Debug>(ended: Result<T, sqlx::Error>) -> bool {
        matches!(ended, Err(sqlx::Error::Io(error)) if error.kind() == io::ErrorKind::TimedOut)
    }

    #[tokio::test]
    async fn a_step_that_never_ends_is_given_up_and_the_next_has_twice_the_time() {
        let mut limit = StepLimit::of(SOON);
        let running = CancellationToken::new();
        for nth in 1..4 {
            let ended = limit
                .on(&running, future::pending::<Result<(), sqlx::Error>>())
                .await;

            assert!(is_silence(ended));
            assert_eq!(limit.next, SOON * 2_u32.pow(nth));
        }
        let done = limit
            .on(&running, future::ready(Ok::<_, sqlx::Error>(7)))
            .await;
        assert_eq!(done.unwrap(), 7);
        assert!(limit.next < 8 * SOON, "it ended at once: {:?}", limit.next);
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_that_never_ends_does_not_hold_up_a_stop() {
        let mut limit = StepLimit::of(SILENCE);
        let stopping = CancellationToken::new();
        stopping.cancel();
        let began = tokio::time::Instant::now();

        let ended = limit
            .on(&stopping, future::pending::<Result<(), sqlx::Error>>())
            .await;

        assert!(is_silence(ended));
        assert_eq!(began.elapsed().as_secs(), LAST_STEP.as_secs());
    }
}
