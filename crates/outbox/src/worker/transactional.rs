//! Running a transactional handler: position, effects and follow-up events in one transaction.

use std::sync::Arc;

use super::Subscription;
use super::failure;
use super::runner::{Batch, End, Runner, guarded, pass_if_cancelled, split_blocked};
use crate::append::UnitOfWork;
use crate::consumer::{Failure, Transactional};
use crate::delivery::claim::Claim;
use crate::delivery::{self, Parking};
use crate::event::{Event, Lane};
use crate::failpoint;
use crate::planted;
use crate::position::{self, Cursor, Fence};
use crate::trace;

pub(crate) struct TransactionalRunner<H> {
    subscription: Subscription,
    handler: Arc<H>,
}

impl<H: Transactional> TransactionalRunner<H> {
    pub(crate) fn new(subscription: Subscription, handler: Arc<H>) -> Self {
        Self {
            subscription,
            handler,
        }
    }

    async fn apply(&self, tx: &mut UnitOfWork, events: &[Event]) -> Result<(), Failure> {
        let obsolete = self.handler.apply(tx, events).await?;
        delivery::record_obsolete(tx, self.subscription.id(), events, &obsolete).await?;
        Ok(())
    }

    /// Events whose key is free are applied, the others wait behind it.
    async fn settle(&self, tx: &mut UnitOfWork, events: &[Event]) -> Result<(), Failure> {
        let consumer = self.subscription.id();
        let (ready, behind) = split_blocked(tx, consumer, events).await?;
        for event in &behind {
            delivery::park(tx, consumer, event, &Parking::Behind).await?;
        }
        if ready.is_empty() {
            return Ok(());
        }
        self.apply(tx, &ready).await
    }

    async fn begin(&self, lane: Lane, events: &[Event]) -> Result<UnitOfWork, sqlx::Error> {
        let origin = self.subscription.origin_of(lane, events);
        self.subscription.context.outbox.begin_worker(origin).await
    }

    /// Planted: B06 moves the position before the effects are committed, B07 after.
    async fn attempt_in_two(&self, batch: &Batch) -> Result<End, Failure> {
        let is_early = planted::is("B06");
        let mut end = End::Lost;
        for half in [is_early, !is_early] {
            let mut tx = self.begin(batch.shard.lane, &batch.events).await?;
            if half {
                let step = batch.step();
                match position::advance(&mut tx, batch.shard, batch.cursor, step).await? {
                    Fence::Held(cursor) => end = End::Moved(cursor),
                    Fence::Lost => return Ok(End::Lost),
                }
            } else {
                self.settle(&mut tx, &batch.events).await?;
            }
            tx.commit().await.map_err(|error| error.0)?;
        }
        Ok(end)
    }

    async fn again(&self, claim: &Claim) -> Result<(), Failure> {
        let origin = self
            .subscription
            .origin(claim.event.lane, Some(&claim.event));
        let mut tx = self
            .subscription
            .context
            .outbox
            .begin_worker(origin)
            .await?;
        if claim.done(&mut tx).await? {
            let (consumer, event) = (self.subscription.id(), &claim.event);
            if !pass_if_cancelled(&mut tx, consumer, event).await? {
                self.apply(&mut tx, std::slice::from_ref(event)).await?;
            }
            tx.commit().await.map_err(|error| error.0)?;
        }
        Ok(())
    }
}

impl<H: Transactional> Runner for TransactionalRunner<H> {
    fn subscription(&self) -> &Subscription {
        &self.subscription
    }

    async fn attempt(&self, batch: &Batch) -> Result<End, Failure> {
        if planted::is("B06") || planted::is("B07") {
            return self.attempt_in_two(batch).await;
        }
        let mut tx = self.begin(batch.shard.lane, &batch.events).await?;
        let step = batch.step();
        let moved = position::advance(&mut tx, batch.shard, batch.cursor, step).await?;
        let Fence::Held(cursor) = moved else {
            return Ok(End::Lost);
        };
        failpoint!("worker.advanced")?;
        self.settle(&mut tx, &batch.events).await?;
        failpoint!("worker.applied")?;
        tx.commit().await.map_err(|error| error.0)?;
        Ok(End::Moved(cursor))
    }

    async fn attempt_together(&self, batches: &[Batch]) -> Result<Option<Vec<Cursor>>, Failure> {
        let Some(first) = batches.first() else {
            return Ok(None);
        };
        if planted::is("B06") || planted::is("B07") {
            return Ok(None);
        }
        let mut events: Vec<Event> = batches
            .iter()
            .flat_map(|batch| batch.events.iter().cloned())
            .collect();
        events.sort_unstable_by_key(|event| event.point);
        let mut tx = self.begin(first.shard.lane, &events).await?;
        let moves: Vec<_> = batches
            .iter()
            .map(|batch| (batch.shard, batch.cursor, batch.step()))
            .collect();
        let Some(cursors) = position::advance_all(&mut tx, &moves).await? else {
            return Ok(None);
        };
        self.settle(&mut tx, &events).await?;
        failpoint!("worker.applied_together")?;
        tx.commit().await.map_err(|error| error.0)?;
        Ok(Some(cursors))
    }

    async fn redeliver(&self, claim: Claim) -> Result<(), sqlx::Error> {
        let (name, event) = (self.subscription.spec.name, std::iter::once(&claim.event));
        let attempt = guarded(self.again(&claim));
        if let Err(failed) = trace::handling(name, event, attempt).await {
            failure::end(&self.subscription, &claim, failed).await?;
        }
        Ok(())
    }
}
