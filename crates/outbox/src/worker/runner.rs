//! What the lanes' loop asks of a consumer, whichever kind it is, and what both kinds share.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Subscription;
use super::failure::{parking_of, report};
use crate::cancel;
use crate::consumer::{Failure, Obsolete};
use crate::delivery;
use crate::delivery::claim::Claim;
use crate::event::{Event, LogPoint};
use crate::failpoint;
use crate::member::Claimant;
use crate::metrics;
use crate::position::{self, Cursor, Fence, Move, Shard};
use crate::trace;
use crate::transport::postgres::Page;
use crate::trouble::is_transient;
use futures::FutureExt;
use sqlx::PgConnection;

/// Events of one shard, to be passed together.
pub(crate) struct Batch {
    pub(crate) shard: Shard,
    pub(crate) cursor: Cursor,
    pub(crate) events: Vec<Event>,
    /// Where the shard stands when they are handled.
    pub(crate) to: LogPoint,
    pub(crate) page: Arc<Page>,
}

impl Batch {
    pub(crate) fn step(&self) -> Move {
        Move {
            to: self.to,
            cut_at: self.page.cut_at(self.to),
            passed: i64::try_from(self.events.len()).unwrap_or(i64::MAX),
        }
    }

    /// The step up to its last event before a point, if there is one.
    pub(crate) fn before(&self, point: LogPoint) -> Option<Move> {
        let passed = self.events.partition_point(|event| event.point < point);
        let to = self.events[passed.checked_sub(1)?].point;
        Some(Move {
            to,
            cut_at: self.page.cut_at(to),
            passed: i64::try_from(passed).unwrap_or(i64::MAX),
        })
    }

    /// The batch of one event of this one, which ends at it.
    fn only(&self, cursor: Cursor, event: &Event) -> Self {
        let page = Arc::clone(&self.page);
        Self {
            shard: self.shard,
            cursor,
            events: vec![event.clone()],
            to: event.point,
            page,
        }
    }
}

/// How a batch ended.
#[derive(Debug)]
pub(crate) enum End {
    /// Settled; the shard stands here.
    Moved(Cursor),
    /// The shard has another owner, or the tick is gone. Nothing was settled by us.
    Lost,
    /// The other side is down: look again after this time. The shard stands here.
    Wait(Cursor, Duration),
}

/// A consumer at work.
pub(crate) trait Runner: Send + Sync + 'static {
    fn subscription(&self) -> &Subscription;

    /// Handles a batch as a whole.
    fn attempt(&self, batch: &Batch) -> impl Future<Output = Result<End, Failure>> + Send;

    /// Handles batches of several shards in one transaction, where the handler has no effects
    /// elsewhere; nothing when that is not possible or when one of the shards was lost.
    fn attempt_together(
        &self,
        _batches: &[Batch],
    ) -> impl Future<Output = Result<Option<Vec<Cursor>>, Failure>> + Send {
        std::future::ready(Ok(None))
    }

    /// Handles a delivery that came into trouble earlier.
    fn redeliver(&self, claim: Claim) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// How many events of a shard are handed over at once.
    fn batch_max(&self) -> usize {
        usize::MAX
    }

    /// As whom it claims. A claim of a transactional handler guards nothing but rows of the
    /// database, which a frozen owner cannot commit once its attempt is another's.
    fn claimant(&self) -> Claimant {
        self.subscription().claimant(true)
    }

    /// How long the consumer should not be tried at all.
    fn closed_for(&self) -> Option<Duration> {
        None
    }
}

/// Batches of no more events than that are handled in one transaction: at a few events for each
/// tick, a transaction for each shard is most of what they cost.
const FEW: usize = 200;

/// Handles small batches in one transaction, and says where their shards stand. When that is not
/// to be, nothing has happened, and each goes its own way: a shard that was lost or an event that
/// fails concerns nobody else.
pub(crate) async fn together<R: Runner>(
    runner: &R,
    batches: &[Batch],
) -> Option<Vec<(i16, Cursor, LogPoint)>> {
    let events: usize = batches.iter().map(|batch| batch.events.len()).sum();
    let mut members = batches.iter().map(|batch| batch.events[0].batch_id);
    let first = members.next();
    if batches.len() < 2 || events > FEW || members.any(|batch| Some(batch) != first) {
        return None;
    }
    let began = Instant::now();
    let name = runner.subscription().spec.name;
    let all = batches.iter().flat_map(|batch| &batch.events);
    let attempt = guarded(runner.attempt_together(batches));
    let cursors = trace::handling(name, all, attempt).await.ok()??;
    metrics::handled(name, events, began);
    let moved = batches.iter().zip(cursors);
    Some(
        moved
            .map(|(batch, cursor)| (batch.shard.number, cursor, batch.to))
            .collect(),
    )
}

/// Handles a batch; when it fails, event by event, so that only the culprit waits.
pub(crate) async fn handle<R: Runner>(runner: &R, batch: &Batch) -> Result<End, sqlx::Error> {
    let began = Instant::now();
    let name = runner.subscription().spec.name;
    let attempt = guarded(runner.attempt(batch));
    match trace::handling(name, batch.events.iter(), attempt).await {
        Ok(end) => {
            if matches!(end, End::Moved(_)) {
                metrics::handled(name, batch.events.len(), began);
            }
            Ok(end)
        }
        Err(Failure::Database(error)) if is_transient(&error) => Err(error),
        Err(failure) if batch.events.len() == 1 => {
            park_failed(runner.subscription(), batch, &failure).await
        }
        Err(_) => singly(runner, batch).await,
    }
}

async fn singly<R: Runner>(runner: &R, batch: &Batch) -> Result<End, sqlx::Error> {
    let mut cursor = claimed(runner.subscription(), batch).await?;
    for event in &batch.events {
        let one = batch.only(cursor, event);
        let name = runner.subscription().spec.name;
        let attempt = guarded(runner.attempt(&one));
        let end = match trace::handling(name, one.events.iter(), attempt).await {
            Ok(end) => end,
            Err(Failure::Database(error)) if is_transient(&error) => return Err(error),
            Err(failure) => park_failed(runner.subscription(), &one, &failure).await?,
        };
        match end {
            End::Moved(moved) => cursor = moved,
            other => return Ok(other),
        }
    }
    Ok(End::Moved(cursor))
}

/// Passes the one event of a batch, whose attempt failed, and parks it.
async fn park_failed(
    subscription: &Subscription,
    batch: &Batch,
    failure: &Failure,
) -> Result<End, sqlx::Error> {
    let event = &batch.events[0];
    let parking = parking_of(subscription, failure);
    report(subscription, event, &parking);
    let cursor = claimed(subscription, batch).await?;
    let origin = subscription.origin(event.lane, None);
    let mut tx = subscription.context.outbox.begin_worker(origin).await?;
    let moved = position::advance(&mut tx, batch.shard, cursor, batch.step()).await?;
    let Fence::Held(cursor) = moved else {
        return Ok(End::Lost);
    };
    delivery::park(&mut tx, subscription.id(), event, &parking).await?;
    failpoint!("worker.parked")?;
    tx.commit().await.map_err(|error| error.0)?;
    Ok(End::Moved(cursor))
}

/// The cursor after a failed attempt, which may have claimed the shard before it failed.
async fn claimed(subscription: &Subscription, batch: &Batch) -> Result<Cursor, sqlx::Error> {
    let (pool, owner) = (
        subscription.context.outbox.pool(),
        subscription.context.member,
    );
    let n = position::newest_claim(pool, batch.shard, batch.cursor.n, owner).await?;
    Ok(Cursor { n, ..batch.cursor })
}

/// A panic counts as a failed attempt of the events in hand; it never stops the consumer.
pub(crate) async fn guarded<T>(
    attempt: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    AssertUnwindSafe(attempt)
        .catch_unwind()
        .await
        .unwrap_or_else(|panic| Err(Failure::retry(panic_text(panic.as_ref()))))
}

pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let said = panic
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| panic.downcast_ref::<String>().cloned());
    format!(
        "the handler panicked: {}",
        said.unwrap_or_else(|| "no message".to_owned())
    )
}

/// Splits a batch into the events to be handled and those whose key has an open delivery. What was
/// cancelled is in neither, and recorded.
pub(crate) async fn split_blocked(
    tx: &mut PgConnection,
    consumer: i16,
    events: &[Event],
) -> Result<(Vec<Event>, Vec<Event>), sqlx::Error> {
    let barred = delivery::barred(tx, consumer, events).await?;
    delivery::record_obsolete(tx, consumer, events, &barred.cancelled).await?;
    let is_cancelled = |event: &Event| {
        let mut cancelled = barred.cancelled.iter();
        cancelled.any(|of| of.event_id == event.event_id)
    };
    Ok(events
        .iter()
        .filter(|event| !is_cancelled(event))
        .cloned()
        .partition(|event| !barred.keys.contains(&event.key)))
}

/// Records a delivery's event as obsolete if it was cancelled meanwhile; false if it was not.
pub(crate) async fn pass_if_cancelled(
    tx: &mut PgConnection,
    consumer: i16,
    event: &Event,
) -> Result<bool, sqlx::Error> {
    let Some(reason) = cancel::reason(tx, event.event_id).await? else {
        return Ok(false);
    };
    let event_id = event.event_id;
    let events = std::slice::from_ref(event);
    delivery::record_obsolete(tx, consumer, events, &[Obsolete { event_id, reason }]).await?;
    Ok(true)
}
