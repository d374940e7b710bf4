//! The loop that tries deliveries in trouble.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use super::pause;
use super::runner::Runner;
use crate::consumer;
use crate::delivery::claim;
use crate::wake::Listener;

/// How many due deliveries are claimed at once.
const CLAIMS: i64 = 32;
const AT_ONCE: usize = 4;
const POLL: Duration = Duration::from_millis(250);
const AFTER_ERROR: Duration = Duration::from_secs(1);

/// Claims and tries due deliveries until `shutdown`.
pub(crate) async fn run<R: Runner>(
    runner: Arc<R>,
    _listener: Listener,
    shutdown: CancellationToken,
) {
    while !shutdown.is_cancelled() {
        match step(&*runner).await {
            Ok(0) => pause(&shutdown, POLL).await,
            Ok(_) => {}
            Err(error) => {
                let consumer = runner.subscription().spec.name;
                tracing::warn!(%error, consumer, "Deliveries of {consumer} wait for the database");
                pause(&shutdown, AFTER_ERROR).await;
            }
        }
    }
}

/// Tries the deliveries that are due now, and says how many.
async fn step<R: Runner>(runner: &R) -> Result<usize, sqlx::Error> {
    let subscription = runner.subscription();
    let (pool, id) = (subscription.context.outbox.pool(), subscription.id());
    if runner.closed_for().is_some() || consumer::is_paused(pool, id).await? {
        return Ok(0);
    }
    let owner = subscription.context.member;
    let claims = claim::due(pool, id, owner, subscription.lease_s(), CLAIMS).await?;
    let tried = claims.len();
    let mut ends = futures::stream::iter(claims)
        .map(|claim| runner.redeliver(claim))
        .buffer_unordered(AT_ONCE);
    while let Some(end) = ends.next().await {
        end?;
    }
    Ok(tried)
}
