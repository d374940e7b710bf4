//! Running an external handler: load and claim in a transaction, call outside of any, settle in
//! another.
//!
//! Answers are recorded whether or not the shard is still ours: what happened outside has happened.
//! Only the position asks the fence.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::Subscription;
use super::failure::{self, report};
use super::runner::{Batch, End, Runner, guarded, pass_if_cancelled, split_blocked};
use crate::append::UnitOfWork;
use crate::breaker::Breaker;
use crate::consumer::{Dedupe, External, Failure, Load, Obsolete};
use crate::delivery::claim::Claim;
use crate::delivery::{self, Parking};
use crate::event::Event;
use crate::failpoint;
use crate::member::Claimant;
use crate::mutant::{self, Mutant};
use crate::position::{self, Fence};
use crate::throttle::Tokens;
use crate::trace;

mod calls;
mod pace;
mod progress;

use calls::{Called, Calls, Made, Pending, Refused};
use pace::{Pace, rounds};
use progress::{Close, Progress, cut};

pub(crate) struct ExternalRunner<H: External> {
    subscription: Subscription,
    handler: Arc<H>,
    breaker: Arc<Breaker>,
    permits: Arc<Semaphore>,
    pace: Arc<Pace>,
    tokens: Option<Tokens>,
}

/// For the calls that outlast their batch.
impl<H: External> Clone for ExternalRunner<H> {
    fn clone(&self) -> Self {
        Self {
            subscription: self.subscription.clone(),
            handler: Arc::clone(&self.handler),
            breaker: Arc::clone(&self.breaker),
            permits: Arc::clone(&self.permits),
            pace: Arc::clone(&self.pace),
            tokens: self.tokens.clone(),
        }
    }
}

/// A round's events that need a call, with what the call needs.
type Intents<H> = Vec<(Event, <H as External>::Intent)>;
type Answers<H> = Vec<(<H as External>::Intent, <H as External>::Answer)>;

impl<H: External> ExternalRunner<H> {
    pub(crate) fn new(subscription: Subscription, handler: Arc<H>) -> Self {
        let permits = Arc::new(Semaphore::new(subscription.spec.concurrency));
        let pace = Arc::new(Pace::new(subscription.spec.concurrency));
        let pool = subscription.context.outbox.pool();
        let throttle = subscription.spec.throttle.clone();
        let tokens = throttle.map(|throttle| Tokens::new(pool.clone(), throttle));
        Self {
            breaker: subscription.context.breakers.of(subscription.id()),
            subscription,
            handler,
            permits,
            pace,
            tokens,
        }
    }

    fn calls(&self) -> Calls<H> {
        let (handler, permits) = (Arc::clone(&self.handler), Arc::clone(&self.permits));
        Calls {
            consumer: self.subscription.spec.name,
            handler,
            permits,
            at_once: self.subscription.spec.concurrency,
            timeout: self.subscription.spec.call_timeout,
            patience: self.subscription.spec.patience,
            tokens: self.tokens.clone(),
        }
    }

    async fn begin(&self, batch: &Batch) -> Result<UnitOfWork, sqlx::Error> {
        let origin = self.subscription.origin_of(batch.shard.lane, &batch.events);
        self.subscription.context.outbox.begin_worker(origin).await
    }

    /// Claims the shard and loads a round; nothing when the shard has another owner.
    async fn load(
        &self,
        batch: &Batch,
        progress: &mut Progress,
        events: Vec<Event>,
    ) -> Result<Option<Intents<H>>, Failure> {
        let mut tx = self.begin(batch).await?;
        let (shard, cursor) = (batch.shard, progress.cursor);
        let claimed = position::claim(&mut tx, shard, cursor, self.claimant()).await?;
        let Fence::Held(cursor) = claimed else {
            return Ok(None);
        };
        let (free, behind): (Vec<_>, Vec<_>) = events
            .into_iter()
            .partition(|event| !progress.has_parked(event.key));
        let (ready, blocked) = split_blocked(&mut tx, self.subscription.id(), &free).await?;
        let intents = self.load_ready(&mut tx, ready).await?;
        tx.commit().await.map_err(|error| error.0)?;
        failpoint!("call.loaded")?;
        progress.cursor = cursor;
        progress.parked.extend(
            behind
                .into_iter()
                .chain(blocked)
                .map(|e| (e, Parking::Behind)),
        );
        Ok(Some(intents))
    }

    async fn load_ready(
        &self,
        tx: &mut UnitOfWork,
        events: Vec<Event>,
    ) -> Result<Intents<H>, Failure> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let loads = self.handler.load(tx, &events).await?;
        assert_eq!(loads.len(), events.len(), "`load` answers each event");
        let mut obsolete = Vec::new();
        let mut intents = Vec::new();
        for (event, load) in events.iter().zip(loads) {
            match load {
                Load::Call(intent) => intents.push((event.clone(), intent)),
                Load::Recorded => {}
                Load::Obsolete(reason) => {
                    obsolete.push(Obsolete {
                        event_id: event.event_id,
                        reason,
                    });
                }
            }
        }
        delivery::record_obsolete(tx, self.subscription.id(), &events, &obsolete).await?;
        Ok(intents)
    }

    /// Records answers, and does with the shard what `close` says. False when the shard was lost.
    async fn settle(
        &self,
        batch: &Batch,
        progress: &mut Progress,
        answers: Answers<H>,
        close: Close,
    ) -> Result<bool, Failure> {
        let mut tx = self.begin(batch).await?;
        let (shard, cursor) = (batch.shard, progress.cursor);
        let fence = match close {
            Close::Round => Fence::Held(cursor),
            Close::Batch(step) => position::advance(&mut tx, shard, cursor, step).await?,
            Close::Claim => {
                let over = Claimant {
                    seconds: 0,
                    ..self.claimant()
                };
                position::claim(&mut tx, shard, cursor, over).await?
            }
        };
        if !answers.is_empty() {
            self.handler.settle(&mut tx, answers).await?;
        }
        if let (Fence::Held(_), Close::Batch(step)) = (fence, close) {
            let passed = progress.parked.iter();
            for (event, parking) in passed.filter(|(event, _)| event.point <= step.to) {
                delivery::park(&mut tx, self.subscription.id(), event, parking).await?;
            }
        }
        failpoint!("call.answered")?;
        if fence == Fence::Lost && mutant::is(Mutant::ResultsRolledBack) {
            return Ok(false);
        }
        tx.commit().await.map_err(|error| error.0)?;
        match fence {
            Fence::Held(cursor) => progress.cursor = cursor,
            Fence::Lost => return Ok(false),
        }
        Ok(true)
    }

    /// One more attempt at a delivery in trouble.
    async fn again(&self, claim: &Claim) -> Result<(), Failure> {
        let origin = self
            .subscription
            .origin(claim.event.lane, Some(&claim.event));
        let outbox = &self.subscription.context.outbox;
        let mut tx = outbox.begin_worker(origin.clone()).await?;
        let ready = match pass_if_cancelled(&mut tx, self.subscription.id(), &claim.event).await? {
            true => Vec::new(),
            false => vec![claim.event.clone()],
        };
        let mut intents = self.load_ready(&mut tx, ready).await?;
        let Some((_, intent)) = intents.pop() else {
            claim.done(&mut tx).await?;
            tx.commit().await.map_err(|error| error.0)?;
            return Ok(());
        };
        tx.commit().await.map_err(|error| error.0)?;
        let called = self.calls().call(claim.event.clone(), intent).await;
        self.conclude(claim, called).await
    }

    /// Ends a delivery by the result of its call.
    async fn conclude(&self, claim: &Claim, called: Called<H>) -> Result<(), Failure> {
        match called {
            Called::Answer(intent, answer) => {
                self.breaker.reset();
                self.conclude_answer(claim, (intent, answer)).await
            }
            Called::Failed(failure) => Err(failure),
            Called::Unavailable { error, after } => {
                let ending = failure::uncounted(error, self.breaker.trip(after));
                let outbox = &self.subscription.context.outbox;
                claim.end(outbox, &ending).await?;
                Ok(())
            }
        }
    }

    async fn conclude_answer(
        &self,
        claim: &Claim,
        answer: (H::Intent, H::Answer),
    ) -> Result<(), Failure> {
        let lane = claim.event.lane;
        let origin = self.subscription.origin(lane, Some(&claim.event));
        let outbox = &self.subscription.context.outbox;
        let mut tx = outbox.begin_worker(origin).await?;
        // Recorded even when the claim ran out: its successor finds the intent settled.
        claim.done(&mut tx).await?;
        self.handler.settle(&mut tx, vec![answer]).await?;
        tx.commit().await.map_err(|error| error.0)?;
        Ok(())
    }

    /// Calls that outlasted the batch go on alone, each with its delivery row if the batch could
    /// still write one.
    fn go_on_alone(&self, slow: Vec<Pending<H>>) {
        for mut call in slow {
            let (this, held) = (self.clone(), call.held.take());
            let claim = Claim {
                consumer: self.subscription.id(),
                owner: self.subscription.context.member,
                attempt: 1,
                event: call.event.clone(),
            };
            let alone = self.subscription.context.alone.clone();
            alone.spawn(async move {
                let ended = this.conclude(&claim, call.wait().await).await;
                end_late(&this.subscription, &claim, ended).await;
                drop(held);
            });
        }
    }

    /// Makes the calls of a batch, round by round. Those that are still under way when it returns,
    /// however it does, are in `slow`.
    async fn make_rounds(&self, batch: &Batch, slow: &mut Vec<Pending<H>>) -> Result<End, Failure> {
        let mut progress = Progress {
            cursor: batch.cursor,
            parked: Vec::new(),
        };
        let patience = self.subscription.spec.patience;
        let (began, count) = (Instant::now(), batch.events.len());
        let mut rounds = rounds(&batch.events).into_iter().peekable();
        while let Some(events) = rounds.next() {
            let Some(intents) = self.load(batch, &mut progress, events).await? else {
                return Ok(End::Lost);
            };
            let mut made = self.calls().make(intents).await;
            self.note(&mut progress, &mut made);
            slow.append(&mut made.slow);
            let is_over = !made.left.is_empty();
            let down = made.unavailable.pop();
            let close = match (&down, rounds.peek()) {
                (Some(_), _) if slow.is_empty() => Close::Claim,
                (None, _) if is_over => {
                    made.left.extend(rounds.by_ref().flatten());
                    cut(batch, &made.left)
                }
                (Some(_), _) | (None, Some(_)) => Close::Round,
                (None, None) => Close::Batch(batch.step()),
            };
            if !made.answers.is_empty() && down.is_none() {
                self.breaker.reset();
            }
            if !self
                .settle(batch, &mut progress, made.answers, close)
                .await?
            {
                return Ok(End::Lost);
            }
            if let Some(Refused { error, after, .. }) = down {
                let wait = self.breaker.trip(after);
                let consumer = self.subscription.spec.name;
                tracing::warn!(consumer, error, "{consumer} waits {wait:?}: {error}");
                return Ok(End::Wait(progress.cursor, wait));
            }
        }
        self.pace.took(count, began.elapsed(), patience);
        Ok(End::Moved(progress.cursor))
    }

    /// Failed and slow calls leave the batch with its position.
    fn note(&self, progress: &mut Progress, made: &mut Made<H>) {
        if made.few_turned_away() {
            // The other side takes calls, only not these: they wait, and nobody else does.
            for refused in made.unavailable.drain(..) {
                let parking = refused.parking();
                report(&self.subscription, &refused.event, &parking);
                progress.parked.push((refused.event, parking));
            }
        }
        if !made.unavailable.is_empty() {
            // The position stays, and what failed now may have failed for the same reason.
            return;
        }
        for (event, failed) in made.failed.drain(..) {
            let parking = failure::parking_of(&self.subscription, &failed);
            report(&self.subscription, &event, &parking);
            progress.parked.push((event, parking));
        }
        let marked = !mutant::is(Mutant::StragglerUnmarked);
        for call in made.slow.iter_mut().filter(|_| marked) {
            call.held = Some(self.subscription.in_hand.hold(call.event.event_id));
            let parking = Parking::Running {
                owner: self.subscription.context.member,
                seconds: self.subscription.lease_s(),
            };
            report(&self.subscription, &call.event, &parking);
            progress.parked.push((call.event.clone(), parking));
        }
    }
}

async fn end_late(subscription: &Subscription, claim: &Claim, ended: Result<(), Failure>) {
    let Err(failed) = ended else { return };
    if let Err(error) = failure::end(subscription, claim, failed).await {
        tracing::warn!(%error, "The end of a slow call was not written; it is made again");
    }
}

impl<H: External> Runner for ExternalRunner<H> {
    fn subscription(&self) -> &Subscription {
        &self.subscription
    }

    fn claimant(&self) -> Claimant {
        let harmless = H::DEDUPE != Dedupe::AtLeastOnce;
        self.subscription.claimant(harmless)
    }

    fn closed_for(&self) -> Option<Duration> {
        self.breaker.open_for()
    }

    fn batch_max(&self) -> usize {
        self.pace.batch_max()
    }

    async fn attempt(&self, batch: &Batch) -> Result<End, Failure> {
        let mut slow = Vec::new();
        let end = self.make_rounds(batch, &mut slow).await;
        // However the batch ended: these calls happen, and their answers must be recorded.
        self.go_on_alone(slow);
        end
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
