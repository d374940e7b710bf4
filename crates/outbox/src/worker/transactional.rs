//! Running a transactional handler: position, effects and follow-up events in one transaction.

use std::sync::Arc;

use super::Subscription;
use super::runner::{self, Batch, End, Runner, guarded, split_blocked};
use crate::append::UnitOfWork;
use crate::consumer::{Failure, Transactional};
use crate::delivery::claim::Claim;
use crate::delivery::{self, Parking};
use crate::event::Event;
use crate::position::{self, Fence};

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
            self.apply(&mut tx, std::slice::from_ref(&claim.event))
                .await?;
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
        let cause = if let [only] = batch.events.as_slice() {
            Some(only)
        } else {
            None
        };
        let origin = self.subscription.origin(batch.shard.lane, cause);
        let mut tx = self
            .subscription
            .context
            .outbox
            .begin_worker(origin)
            .await?;
        let step = batch.step();
        let moved = position::advance(&mut tx, batch.shard, batch.cursor, step).await?;
        let Fence::Held(cursor) = moved else {
            return Ok(End::Lost);
        };
        let consumer = self.subscription.id();
        let (ready, behind) = split_blocked(&mut tx, consumer, &batch.events).await?;
        for event in &behind {
            delivery::park(&mut tx, consumer, event, &Parking::Behind).await?;
        }
        if !ready.is_empty() {
            self.apply(&mut tx, &ready).await?;
        }
        tx.commit().await.map_err(|error| error.0)?;
        Ok(End::Moved(cursor))
    }

    async fn redeliver(&self, claim: Claim) -> Result<(), sqlx::Error> {
        if let Err(failure) = guarded(self.again(&claim)).await {
            let ending = runner::ending_of(&self.subscription, &claim, failure);
            claim
                .end(self.subscription.context.outbox.pool(), &ending)
                .await?;
        }
        Ok(())
    }
}
