//! The loop of one consumer in one lane.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::pulse::Pulse;
use super::runner::{self, Batch, End, Runner};
use crate::consumer::Registered;
use crate::event::{Lane, LogPoint};
use crate::member;
use crate::position::{self, Cursor, Fence, Move, Shard};
use crate::supervise::{SILENCE, StepLimit, answered, pause};
use crate::transport::postgres::Page;
use crate::wake::Listener;

mod held;
mod seal;

use held::Held;

/// Over events of other topics a position is written this often, and when the loop stops.
const LAZY: Duration = Duration::from_secs(30);
/// How long a closed consumer sleeps at most before it asks again whether it still is.
const CLOSED: Duration = Duration::from_secs(1);
/// How many shards of a consumer are worked on at once.
const SHARDS_AT_ONCE: usize = 4;
const AFTER_ERROR: Duration = Duration::from_secs(1);
const AT_THE_STOP: Duration = Duration::from_secs(5);
const PRUNE: Duration = Duration::from_secs(600);

pub(crate) struct LaneLoop<R> {
    runner: Arc<R>,
    lane: Lane,
    /// In which generation, of how many shards, it reads.
    registered: Registered,
    shards: BTreeMap<i16, Held>,
    /// The page in hand: shards that have more on it than a batch come back for the rest.
    page: Option<Arc<Page>>,
    /// The page behind it, read while the one in hand is worked through.
    ahead: Option<Ahead>,
    /// Those that are ours, with their positions; nothing when they have to be read.
    share: Option<Vec<i16>>,
    pulse: watch::Receiver<Pulse>,
    pruned: Instant,
}

type Ahead = AbortOnDropHandle<Result<Option<Arc<Page>>, sqlx::Error>>;

/// What a step came to.
enum Step {
    /// Go on at once.
    More,
    /// The log ends here.
    Idle,
    /// The other side is down.
    Wait(Duration),
}

/// Reads and handles until `shutdown`.
pub(crate) async fn run<R: Runner>(
    runner: Arc<R>,
    lane: Lane,
    mut listener: Listener,
    shutdown: CancellationToken,
) {
    let name = runner.subscription().spec.name;
    let mut this = LaneLoop::new(runner, lane);
    // A batch is called twice at most: as a whole, and its events one by one beside each other.
    let mut limit = StepLimit::beside(2 * this.runner.subscription().spec.call_timeout);
    while !shutdown.is_cancelled() {
        match limit.on(&shutdown, this.step()).await {
            Ok(Step::More) => {}
            Ok(Step::Idle) => this.idle(&shutdown, &mut listener).await,
            Ok(Step::Wait(time)) => pause(&shutdown, time).await,
            Err(error) => {
                tracing::warn!(%error, consumer = name, "{name} waits for the database");
                this.share = None;
                this.ahead = None;
                pause(&shutdown, AFTER_ERROR).await;
            }
        }
    }
    if let Err(error) = answered(AT_THE_STOP, this.write_positions(Duration::ZERO)).await {
        tracing::debug!(%error, "Positions were not written at the stop; they are read again");
    }
}

impl<R: Runner> LaneLoop<R> {
    fn new(runner: Arc<R>, lane: Lane) -> Self {
        let pulse = runner.subscription().context.pulse.clone();
        Self {
            registered: runner.subscription().registered,
            runner,
            lane,
            shards: BTreeMap::new(),
            page: None,
            ahead: None,
            share: None,
            pulse,
            pruned: Instant::now(),
        }
    }

    /// One page for all shards of this process that wait for it.
    async fn step(&mut self) -> Result<Step, sqlx::Error> {
        let (mine, paused) = self.ours();
        if self.share.as_ref() != Some(&mine) {
            // Without the time that calls may take: here is none.
            answered(SILENCE, self.take(mine)).await?;
        }
        if let Some(time) = self.runner.closed_for() {
            return Ok(Step::Wait(time.min(CLOSED)));
        }
        let Some(after) = self.shards.values().map(|held| held.scanned).min() else {
            return Ok(Step::Idle);
        };
        if paused {
            return Ok(Step::Idle);
        }
        let Some(page) = answered(SILENCE, self.page(after)).await? else {
            self.write_positions(LAZY).await?;
            return Ok(Step::Idle);
        };
        self.work_through(&page).await
    }

    /// The page of what comes after a point. The one in hand is not asked for again: the reader
    /// may have dropped it for the sake of quicker consumers.
    async fn page(&mut self, after: LogPoint) -> Result<Option<Arc<Page>>, sqlx::Error> {
        if self.page.as_ref().is_some_and(|page| page.follows(after)) {
            return Ok(self.page.clone());
        }
        let ahead = match self.ahead.take() {
            Some(reading) => reading.await.unwrap_or(Ok(None))?,
            None => None,
        };
        self.page = match ahead.filter(|page| page.follows(after)) {
            Some(page) => Some(page),
            None => self.read(after).await?,
        };
        if let Some(page) = self.page.as_ref().filter(|page| page.is_far_back) {
            let reading = self.read(page.to);
            self.ahead = Some(AbortOnDropHandle::new(tokio::spawn(reading)));
        }
        Ok(self.page.clone())
    }

    fn read(
        &self,
        after: LogPoint,
    ) -> impl Future<Output = Result<Option<Arc<Page>>, sqlx::Error>> + use<R> {
        let subscription = self.runner.subscription();
        let reader = subscription.context.reader.clone();
        let (lane, topics) = (self.lane, Arc::clone(&subscription.topics));
        async move { reader.page(lane, after, &topics).await }
    }

    async fn work_through(&mut self, page: &Arc<Page>) -> Result<Step, sqlx::Error> {
        if self.shards.values().any(|held| held.contradicts(page)) {
            return Ok(self.start_over().await);
        }
        if let Some(seal) = self.next_seal(page) {
            return self.pass_seal(page, seal).await;
        }
        let batches = self.batches(page);
        if let Some(moved) = runner::together(&*self.runner, &batches).await {
            self.note(page, moved);
            return Ok(Step::More);
        }
        let runner = &self.runner;
        let mut ends = futures::stream::iter(batches)
            .map(|batch| async move {
                let end = runner::handle(&**runner, &batch).await;
                (batch.shard.number, batch.to, end)
            })
            .buffer_unordered(SHARDS_AT_ONCE);
        let mut step = Step::More;
        let mut lost = false;
        let mut failed = None;
        let mut moved = Vec::new();
        while let Some((shard, to, end)) = ends.next().await {
            match end {
                Ok(End::Moved(cursor)) => moved.push((shard, cursor, to)),
                Ok(End::Wait(cursor, time)) => {
                    moved.push((shard, cursor, cursor.at));
                    step = Step::Wait(time);
                }
                Ok(End::Lost) => lost = true,
                Err(error) => failed = Some(error),
            }
        }
        drop(ends);
        self.note(page, moved);
        if lost {
            return Ok(self.start_over().await);
        }
        failed.map_or(Ok(step), Err)
    }

    /// Another owner, or a tick that a crash of the server took away: what we know is void.
    async fn start_over(&mut self) -> Step {
        let context = &self.runner.subscription().context;
        context.reader.forget().await;
        self.page = None;
        self.ahead = None;
        self.shards.clear();
        self.share = None;
        Step::Wait(context.config.poll)
    }

    /// Cuts the page into a batch per shard, and passes over it where a shard has nothing in it.
    fn batches(&mut self, page: &Arc<Page>) -> Vec<Batch> {
        let subscription = self.runner.subscription();
        let shards = self.registered.shards;
        let mut batches = Vec::new();
        for (number, held) in &mut self.shards {
            if page.to <= held.scanned {
                continue;
            }
            let max = self.runner.batch_max();
            let sealed_at = seal::first_after(page, held.scanned);
            let mut events: Vec<_> = page
                .events
                .iter()
                .filter(|event| event.part % shards == *number && held.scanned < event.point)
                .take_while(|event| sealed_at.is_none_or(|sealed_at| event.point < sealed_at))
                .filter(|event| subscription.reads(event))
                .take(max.saturating_add(1))
                .cloned()
                .collect();
            let Some(first) = events.first().map(|event| event.batch_id) else {
                held.pass(page, page.to);
                continue;
            };
            // What handlers append belongs to the batch whose members they handle: to one.
            let alike = events.iter().take_while(|event| event.batch_id == first);
            let max = max.min(alike.count());
            let is_all = events.len() <= max && sealed_at.is_none();
            events.truncate(max);
            let last = events[events.len() - 1].point;
            let to = if is_all { page.to } else { last };
            batches.push(Batch {
                shard: shard(self.registered, self.lane, *number),
                cursor: held.cursor,
                events,
                to,
                page: Arc::clone(page),
            });
        }
        batches
    }

    /// A batch that was handled singly ends at its last event, though nothing more of it is on the
    /// page: hence a point beside the cursor.
    fn note(&mut self, page: &Page, moved: Vec<(i16, Cursor, LogPoint)>) {
        for (shard, cursor, to) in moved {
            if let Some(held) = self.shards.get_mut(&shard) {
                held.cursor = cursor;
                held.written = Instant::now();
                held.pass(page, to);
            }
        }
    }

    /// Writes positions that were passed without an event of ours for longer than `age`.
    async fn write_positions(&mut self, age: Duration) -> Result<(), sqlx::Error> {
        let subscription = self.runner.subscription();
        let mut lost = false;
        for (number, held) in &mut self.shards {
            let Some(cut_at) = held.cut_at else { continue };
            if held.scanned <= held.cursor.at || held.written.elapsed() < age {
                continue;
            }
            let origin = subscription.origin(self.lane, None);
            let mut tx = subscription.context.outbox.begin_worker(origin).await?;
            let shard = shard(self.registered, self.lane, *number);
            let step = Move {
                to: held.scanned,
                cut_at,
                passed: 0,
            };
            match position::advance(&mut tx, shard, held.cursor, step).await? {
                Fence::Held(cursor) => {
                    tx.commit().await.map_err(|error| error.0)?;
                    held.cursor = cursor;
                    held.written = Instant::now();
                }
                Fence::Lost => lost = true,
            }
        }
        if lost {
            self.start_over().await;
        }
        Ok(())
    }

    /// Which shards are ours as far as anybody knows, and whether the consumer is paused.
    fn ours(&mut self) -> (Vec<i16>, bool) {
        let subscription = self.runner.subscription();
        let (id, me) = (subscription.id(), Some(subscription.context.member));
        let pulse = self.pulse.borrow_and_update();
        let members = pulse.members_of(id);
        let registered = pulse.registered(id).unwrap_or(self.registered);
        if registered != self.registered {
            // A replay began: what we knew of our shards belongs to a generation that is over.
            self.registered = registered;
            self.shards.clear();
            self.share = None;
        }
        let ours =
            (0..registered.shards).filter(|number| member::owner(id, *number, &members) == me);
        (ours.collect(), pulse.is_paused(id))
    }

    /// Reads where our shards stand.
    async fn take(&mut self, mine: Vec<i16>) -> Result<(), sqlx::Error> {
        let subscription = self.runner.subscription();
        let (pool, id) = (subscription.context.outbox.pool(), subscription.id());
        let generation = self.registered.generation;
        let claimant = self.runner.claimant();
        // Where a repeated call would be seen, one that is still under way keeps its claim.
        if claimant.succeeds_silent {
            position::give_back(pool, claimant, (generation, self.lane), &mine).await?;
        }
        let newest = position::newest(pool, id, generation, self.lane).await?;
        let mut held = BTreeMap::new();
        for (number, cursor) in newest {
            if !mine.contains(&number) {
                continue;
            }
            let known = self
                .shards
                .get(&number)
                .filter(|known| known.cursor == cursor)
                .copied();
            held.insert(number, known.unwrap_or_else(|| Held::fresh(cursor)));
        }
        self.shards = held;
        self.share = Some(mine);
        Ok(())
    }

    /// How long to wait for news before looking all the same.
    fn net(&self) -> Duration {
        let context = &self.runner.subscription().context;
        if context.reader.is_read_at_the_wake_up() {
            LAZY
        } else {
            context.config.poll
        }
    }

    /// Waits for a wake-up or for a change of the pulse, which looks by itself.
    async fn idle(&mut self, shutdown: &CancellationToken, listener: &mut Listener) {
        let net = self.net();
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = listener.woken() => {}
            _ = self.pulse.changed() => {}
            () = pause(shutdown, net) => {}
        }
        if self.pruned.elapsed() > PRUNE {
            self.pruned = Instant::now();
            let subscription = self.runner.subscription();
            let pool = subscription.context.outbox.pool();
            if let Err(error) = position::prune(pool, subscription.id()).await {
                tracing::debug!(%error, "Old positions stay until the next look");
            }
        }
    }
}

fn shard(registered: Registered, lane: Lane, number: i16) -> Shard {
    Shard {
        consumer: registered.id,
        generation: registered.generation,
        lane,
        number,
    }
}
