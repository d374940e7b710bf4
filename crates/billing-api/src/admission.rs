//! Admission: how many requests run at once, and that none of them ends because its client left.
//!
//! An HTTP server drops a handler when its client leaves. Dropped in the middle of a unit of work,
//! it would leave to chance what was written; so every admitted request runs on a task of its own.
//! It keeps its place until it ends, not until its client has gone: clients that leave and come
//! back cannot pile up work behind the database. Only one that waits for a database which does not
//! answer is given up.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use outbox::failpoint;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tracing::{Instrument as _, Span, warn};

use crate::problem::Problem;

/// A client that waits longer has usually gone.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// A request that takes longer waits for a database that a network has swallowed: it would for
/// ever. What it had not committed is rolled back.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(120);

/// The places of one kind of request.
#[derive(Debug, Clone)]
pub(crate) struct Admission {
    places: Arc<Semaphore>,
    running: TaskTracker,
}

impl Admission {
    /// So many requests may run at once; `running` counts them.
    pub(crate) fn new(places: usize, running: TaskTracker) -> Self {
        let places = Arc::new(Semaphore::new(places));
        Self { places, running }
    }
}

/// Runs a request to its end, or turns it away at once when all places are taken.
pub(crate) async fn admit(
    State(admission): State<Admission>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    failpoint!("api.asked").map_err(|_| Problem::busy("Turned away on purpose."))?;
    let place = Arc::clone(&admission.places).try_acquire_owned();
    let place = place.map_err(|_| Problem::busy("Too many requests run at once."))?;
    let to_its_end = async move {
        let response = timeout(GIVEN_UP_AFTER, next.run(request)).await;
        drop(place);
        response.unwrap_or_else(|_| {
            warn!("A request was given up: the database does not answer");
            Problem::busy("The database does not answer.").into_response()
        })
    };
    let answer = admission
        .running
        .spawn(to_its_end.instrument(Span::current()));
    let answered = timeout(ANSWER_TIMEOUT, answer).await;
    failpoint!("api.answered").map_err(|_| Problem::busy("The answer was lost on purpose."))?;
    match answered {
        Ok(answered) => answered.map_err(Problem::broken),
        Err(_) => Err(Problem::busy(
            "No answer within the time. What was asked may still happen: look before you repeat.",
        )),
    }
}
