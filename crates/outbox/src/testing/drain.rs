//! Handling everything there is.

use std::time::Duration;

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::backlog::{self, BacklogWatch};
use crate::clock;
use crate::consumer;
use crate::relay::Relay;
use crate::supervise::RunError;
use crate::timer;
use crate::worker::Worker;

/// A drain that takes longer has met something that never ends.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(5);

/// Why a drain did not end well.
#[derive(Debug, thiserror::Error)]
pub enum DrainError {
    /// There was work to the last.
    #[error(
        "after {waited:?} there is still work: {}. A handler that fails without end wants a \
         `Backoff`, one that is paused wants to be resumed, an unavailable provider to answer",
        left.join("; ")
    )]
    StillBusy {
        /// How long it took.
        waited: Duration,
        /// What was left, in words.
        left: Vec<String>,
    },
    /// The relay or the worker gave up.
    #[error("could not run what handles the events")]
    Run(#[from] RunError),
    /// The database's.
    #[error("could not ask what is left")]
    Database(#[from] sqlx::Error),
}

/// Runs a relay and this worker until nothing is left to do now, and stops them: all that was
/// committed is published and handled by the worker's consumers, what their handlers appended too,
/// and what was planned for by now. Retries that are due later stay; see [`super::advance`].
///
/// Use a database of the test's own: it publishes whatever is there.
///
/// # Errors
/// [`DrainError`]; [`DrainError::StillBusy`] after half a minute.
pub async fn drain(worker: Worker) -> Result<(), DrainError> {
    drain_within(worker, PATIENCE).await
}

/// [`drain`] with a patience of one's own.
///
/// # Errors
/// [`DrainError`].
pub async fn drain_within(worker: Worker, patience: Duration) -> Result<(), DrainError> {
    let outbox = worker.outbox().clone();
    let mut names = Vec::new();
    for spec in worker.specs() {
        // A consumer that is not known yet has nothing to do as far as anybody can tell.
        consumer::register(outbox.pool(), spec).await?;
        names.push(spec.name);
    }
    let stop = CancellationToken::new();
    let relay = Relay::new(outbox.clone()).run(stop.clone());
    let (left, published, handled) = tokio::join!(
        ending(&stop, until_idle(outbox.pool(), &names, patience, &stop)),
        ending(&stop, relay),
        ending(&stop, worker.run(stop.clone())),
    );
    published?;
    handled?;
    let left = left?;
    if left.is_empty() {
        return Ok(());
    }
    let waited = patience;
    Err(DrainError::StillBusy { waited, left })
}

/// Whoever ends first ends the others.
async fn ending<T>(stop: &CancellationToken, part: impl Future<Output = T>) -> T {
    let ended = part.await;
    stop.cancel();
    ended
}

/// What is left when time is up or the others ended: nothing, if all is well.
async fn until_idle(
    pool: &PgPool,
    names: &[&'static str],
    patience: Duration,
    stop: &CancellationToken,
) -> Result<Vec<String>, sqlx::Error> {
    let mut backlogs = BacklogWatch::new(pool.clone());
    backlogs.wait_for(Duration::ZERO);
    let waiting = async {
        while !is_idle(&mut backlogs, pool, names).await? {
            clock::pause(POLL).await;
        }
        Ok::<_, sqlx::Error>(())
    };
    tokio::select! {
        ended = waiting => ended.map(|()| Vec::new()),
        () = clock::pause(patience) => left(pool, names).await,
        () = stop.cancelled() => Ok(Vec::new()),
    }
}

/// Timers first: what one of them appends meanwhile is noticed behind it.
async fn is_idle(
    backlogs: &mut BacklogWatch,
    pool: &PgPool,
    names: &[&'static str],
) -> Result<bool, sqlx::Error> {
    let is_due = timer::due_in(pool, Duration::MAX).await?.is_zero();
    Ok(!is_due && backlogs.rest(names).await?.is_some())
}

/// What is left, in words.
async fn left(pool: &PgPool, names: &[&'static str]) -> Result<Vec<String>, sqlx::Error> {
    let mut left = Vec::new();
    let mut backlogs = BacklogWatch::new(pool.clone());
    for name in names {
        if backlogs.look(name).await?.behind {
            left.push(format!("{name} has unread events"));
        }
    }
    left.extend(open_deliveries(pool, names).await?);
    if timer::due_in(pool, Duration::MAX).await?.is_zero() {
        left.push("planned or recurring events are due".to_owned());
    }
    let pending = backlog::pending(pool).await?;
    if pending > 0 {
        left.push(format!("{pending} events are not published"));
    }
    if left.is_empty() {
        left.push("others go on appending".to_owned());
    }
    Ok(left)
}

/// Those that run, and heads of their keys that are due.
async fn open_deliveries(pool: &PgPool, names: &[&str]) -> Result<Vec<String>, sqlx::Error> {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let open = sqlx::query!(
        r#"
        -- testing: deliveries that are not over
        select name, count(*) as "open!", max(last_error) as error
        from outbox.delivery
        join outbox.consumer using (consumer)
        where name = any ($1)
            and (state = 'running' or exists (
                select from outbox.head
                where head.consumer = delivery.consumer and head.event_id = delivery.event_id
                    and next_at <= clock_timestamp()
            ))
        group by name
        order by name
        "#,
        &names,
    )
    .fetch_all(pool)
    .await?;
    Ok(open
        .into_iter()
        .map(|row| {
            let why = row.error.map(|error| format!(", after: {error}"));
            let why = why.unwrap_or_default();
            format!("{} tries {} deliveries{why}", row.name, row.open)
        })
        .collect())
}
