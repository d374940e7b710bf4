//! The loop that tries deliveries in trouble.
//!
//! It claims no more than it can try at once: a claim that waited for its turn would run out, and
//! another process would make the same call.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::in_hand::Held;
use super::runner::Runner;
use crate::backoff::Backoff;
use crate::delivery::claim::{self, Claim};
use crate::supervise::{LAST_STEP, SILENCE, answered, pause};

/// How many deliveries of a consumer are tried at once in a process.
const AT_ONCE: usize = 8;
const POLL: Duration = Duration::from_millis(250);
const AFTER_ERROR: Duration = Duration::from_secs(1);
/// So often an attempt may take twice as long as the one before.
const LONGER_MAX: u32 = 6;

/// Claims and tries due deliveries until `shutdown`; then finishes those in hand.
pub(crate) async fn run<R: Runner>(runner: Arc<R>, shutdown: CancellationToken) {
    let mut running = JoinSet::new();
    while !shutdown.is_cancelled() {
        let mut claimed = 0;
        match due(&*runner, AT_ONCE - running.len()).await {
            Ok(claims) => {
                for claim in claims {
                    claimed += 1;
                    // In hand before the next look, whenever the task comes to run.
                    let held = runner.subscription().in_hand.hold(claim.event.event_id);
                    running.spawn(again(Arc::clone(&runner), claim, held, shutdown.clone()));
                }
            }
            Err(error) => {
                let consumer = runner.subscription().spec.name;
                tracing::warn!(%error, consumer, "Deliveries of {consumer} wait for the database");
                pause(&shutdown, AFTER_ERROR).await;
            }
        }
        if claimed == 0 || running.len() == AT_ONCE {
            tokio::select! {
                Some(ended) = running.join_next() => report(ended),
                () = pause(&shutdown, POLL) => {}
            }
        }
    }
    let ends = async {
        while let Some(ended) = running.join_next().await {
            report(ended);
        }
    };
    // One that hangs is as good as killed then: its claim runs out.
    drop(tokio::time::timeout(LAST_STEP, ends).await);
}

/// One more attempt. If its end cannot be written, the claim is due again once it is in nobody's
/// hand: soon, and later each time, since the other side was called in vain.
async fn again<R: Runner>(runner: Arc<R>, claim: Claim, held: Held, shutdown: CancellationToken) {
    let lease_s = runner.subscription().lease_s().unsigned_abs();
    let unwritten = Backoff {
        first: AFTER_ERROR,
        cap: Duration::from_secs(lease_s.into()),
        ..Backoff::default()
    };
    let wait = unwritten.bound(claim.attempt);
    let calls = 2 * runner.subscription().spec.call_timeout;
    let limit = (SILENCE + calls) * 2_u32.pow(claim.attempt.unsigned_abs().min(LONGER_MAX));
    if let Err(error) = answered(limit, runner.redeliver(claim)).await {
        tracing::warn!(%error, "The end of an attempt was not written; again in {wait:?}");
        pause(&shutdown, wait).await;
    }
    drop(held);
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "An attempt at a delivery panicked");
    }
}

/// Deliveries that are due now, claimed.
async fn due<R: Runner>(runner: &R, at_most: usize) -> Result<Vec<Claim>, sqlx::Error> {
    let subscription = runner.subscription();
    let (pool, id) = (subscription.context.outbox.pool(), subscription.id());
    let closed = runner.closed_for().is_some();
    let may_begin = {
        let pulse = subscription.context.pulse.borrow();
        pulse.is_troubled(id) && !pulse.is_paused(id)
    };
    if at_most == 0 || closed || !may_begin {
        return Ok(Vec::new());
    }
    let limit = i64::try_from(at_most).unwrap_or(i64::MAX);
    let in_hand = subscription.in_hand.all();
    let due = claim::due(pool, runner.claimant(), &in_hand, limit);
    answered(SILENCE, due).await
}
