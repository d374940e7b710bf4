//! A consumer: a name, topics, and a handler.
//!
//! Owns `outbox.consumer`.

use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::append::UnitOfWork;
use crate::backoff::Backoff;
use crate::event::{Event, Lane};
use crate::throttle::Throttle;
use crate::trouble::is_transient;

/// What a dead letter does to the later events of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDead {
    /// They wait until somebody redrives or discards it.
    Halt,
    /// They go on without it.
    Skip,
}

/// How a consumer is read and retried.
#[derive(Debug, Clone)]
pub struct ConsumerSpec {
    /// Its name, unique in the log.
    pub name: &'static str,
    /// The topics it reads.
    pub topics: &'static [&'static str],
    /// Into how many shards its keys are divided when it is first registered, 1 to [`PARTS`]: so
    /// many processes can share it at most. Later [`crate::operation::reshard`] changes it.
    ///
    /// [`PARTS`]: crate::PARTS
    pub shards: i16,
    /// What a dead letter does to its key.
    pub on_dead: OnDead,
    /// When a failed event is tried again, and how often.
    pub backoff: Backoff,
    /// How many calls of an external handler run at once in a process.
    pub concurrency: usize,
    /// A call that takes longer than this leaves its batch and goes on alone: its key waits for it,
    /// the others do not. So does one in twenty at most that takes twice as long as the others of
    /// its batch did together, and more than a tenth of a second.
    pub patience: Duration,
    /// A call that takes longer than this is given up: its attempt failed. Longer than the client's
    /// own timeout, which tells more of what went wrong.
    pub call_timeout: Duration,
    /// Whether its handler may see an event twice, as in a replay ([`crate::operation::replay`]).
    pub replayable: bool,
    /// How often the provider of an external handler may be called, by all processes together.
    pub throttle: Option<Throttle>,
}

impl ConsumerSpec {
    /// A consumer with the usual policies: 8 shards, a dead letter halts its key, the default
    /// [`Backoff`], not replayable; of an external handler 16 calls at once, a patience of 5
    /// seconds, a timeout of 60, and no throttle.
    #[must_use]
    pub fn new(name: &'static str, topics: &'static [&'static str]) -> Self {
        Self {
            name,
            topics,
            shards: 8,
            on_dead: OnDead::Halt,
            backoff: Backoff::default(),
            concurrency: 16,
            patience: Duration::from_secs(5),
            call_timeout: Duration::from_secs(60),
            replayable: false,
            throttle: None,
        }
    }
}

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The event will be tried again, after the given time if there is one, by the backoff if not.
    #[error("{error}")]
    Retry {
        /// What went wrong.
        error: String,
        /// When the other side wants to be asked again.
        after: Option<Duration>,
    },
    /// Trying again cannot help: a dead letter.
    #[error("{0}")]
    Dead(String),
    /// The event is of a version that this program does not know yet: it waits for the deploy. Not
    /// an attempt and never a dead letter; asked again every half a minute, by any process of the
    /// consumer. See [`Event::expect_version`].
    #[error("{0}")]
    Newer(String),
    /// The database refused a statement. An outage is waited out and is not an attempt; anything
    /// else counts as [`Failure::Retry`].
    #[error("the database refused a statement")]
    Database(#[from] sqlx::Error),
}

impl Failure {
    /// A failure to be tried again by the backoff.
    pub fn retry(error: impl Display) -> Self {
        Self::Retry {
            error: error.to_string(),
            after: None,
        }
    }

    /// Whether the database was away, or lost a race: nobody's fault, and over in a moment. An
    /// [`External::act`] that needs the database answers it with [`Act::Unavailable`].
    #[must_use]
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Database(error) if is_transient(error))
    }
}

/// An event that the world had overtaken when its handler looked: nothing was left to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obsolete {
    /// Which.
    pub event_id: Uuid,
    /// What had happened instead.
    pub reason: String,
}

/// A handler whose effects are rows of this database: exactly once, in one transaction with the
/// position.
pub trait Transactional: Send + Sync + 'static {
    /// Applies a batch in order, and appends follow-up events. All events are of the consumer's
    /// topics; several may be of one key. If it fails, the batch is rolled back and handed over
    /// again event by event, so that only the culprit waits.
    ///
    /// The server ends the transaction when it lies idle for 5 seconds: wait for nothing outside of
    /// the database here, that is what [`External`] is for.
    fn apply(
        &self,
        tx: &mut UnitOfWork,
        events: &[Event],
    ) -> impl Future<Output = Result<Vec<Obsolete>, Failure>> + Send;
}

/// How an external handler keeps a repeated call from having a second effect. There is no default:
/// a crash between the call and its record makes every external call happen twice some day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dedupe {
    /// The other side knows our key and answers a repeated call with the first result.
    NaturalKey,
    /// Doing it again leaves the same state, such as writing the same file.
    IdempotentSink,
    /// Neither: a repeated call can be seen outside, in the window of a crash. Logged. What a
    /// process had in hand when it died waits for its claim's deadline (the call's timeout and the
    /// lease), because one that fell silent may only be frozen and call after all; with the other
    /// two its successor goes on after six seconds of silence.
    AtLeastOnce,
}

/// What loading an event came to.
#[derive(Debug)]
pub enum Load<I> {
    /// The call to make.
    Call(I),
    /// The call's result is recorded already.
    Recorded,
    /// The world has moved on; why.
    Obsolete(String),
}

/// What a call came to.
#[derive(Debug)]
pub enum Act<A> {
    /// An answer to be recorded, good or bad.
    Answer(A),
    /// It failed for this event; try again.
    Retry {
        /// What went wrong.
        error: String,
        /// When the other side wants to be asked again.
        after: Option<Duration>,
    },
    /// The other side is down for everyone: the consumer waits, and no attempt is counted.
    Unavailable {
        /// What went wrong.
        error: String,
        /// When the other side wants to be asked again.
        after: Option<Duration>,
    },
    /// Trying again cannot help.
    Dead(String),
}

/// A handler with effects outside this database. A call is made with no transaction open and no
/// pooled connection held.
pub trait External: Send + Sync + 'static {
    /// What the call needs, read under lock.
    type Intent: Send + Sync + 'static;
    /// What the call answers.
    type Answer: Send + 'static;

    /// How a repeated call is kept harmless.
    const DEDUPE: Dedupe;

    /// Reads the state of now and writes the intent's row; one result per event, in their order.
    /// The events are of different keys.
    fn load(
        &self,
        tx: &mut UnitOfWork,
        events: &[Event],
    ) -> impl Future<Output = Result<Vec<Load<Self::Intent>>, Failure>> + Send;

    /// Makes the call.
    fn act(&self, intent: &Self::Intent) -> impl Future<Output = Act<Self::Answer>> + Send;

    /// Records answers through the intent rows' own transitions, and appends follow-up events where
    /// a row moved. It may be called for an answer that is recorded already.
    fn settle(
        &self,
        tx: &mut UnitOfWork,
        answers: Vec<(Self::Intent, Self::Answer)>,
    ) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// A consumer as the database knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Registered {
    pub(crate) id: i16,
    pub(crate) generation: i16,
    pub(crate) shards: i16,
}

/// Makes a consumer known. A new one starts at the beginning of the log, so events that were
/// appended before its first process started are not missed; only what a retention policy has
/// dropped is.
///
/// # Errors
/// The database's.
pub async fn register(pool: &PgPool, spec: &ConsumerSpec) -> Result<(), sqlx::Error> {
    registered(pool, spec).await.map(|_| ())
}

/// The number of shards in the database wins over the one in the code: processes that counted
/// differently would handle the same key unfenced.
pub(crate) async fn registered(
    pool: &PgPool,
    spec: &ConsumerSpec,
) -> Result<Registered, sqlx::Error> {
    let topics: Vec<String> = spec.topics.iter().map(ToString::to_string).collect();
    let mut tx = crate::append::begin(pool, "begin").await?;
    let row = sqlx::query!(
        "
        -- consumer: register
        insert into outbox.consumer (name, topics, shards, on_dead, replayable)
        values ($1, $2, $3, $4, $5)
        on conflict (name) do update
        set topics = excluded.topics, on_dead = excluded.on_dead,
            replayable = excluded.replayable
        returning consumer, generation, shards
        ",
        spec.name,
        &topics,
        spec.shards,
        match spec.on_dead {
            OnDead::Halt => "halt",
            OnDead::Skip => "skip",
        },
        spec.replayable,
    )
    .fetch_one(&mut *tx)
    .await?;
    let registered = Registered {
        id: row.consumer,
        generation: row.generation,
        shards: row.shards,
    };
    for lane in Lane::ALL {
        first_positions(&mut tx, registered, lane, &topics).await?;
    }
    tx.commit().await?;
    Ok(registered)
}

/// At the oldest tick whose predecessor is there, too: a place needs both. What came before counts
/// as passed, wherever it is now.
async fn first_positions(
    tx: &mut PgConnection,
    registered: Registered,
    lane: Lane,
    topics: &[String],
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "
        -- consumer: first positions
        with first as (
            select n, max_id, snapshot
            from outbox.tick
            order by n
            offset (select (min(n) > 0)::int from outbox.tick)
            limit 1
        ),
        past as materialized (
            select topic, part, count(*) as events
            from outbox.event, first
            where first.n > 0 and lane = $3 and pg_visible_in_snapshot(xid, snapshot)
            group by topic, part
            union all
            select topic, part, events from outbox.dropped where lane = $3
        )
        insert into outbox.position (consumer, generation, lane, shard, n, tick, id, passed)
        select $1, $2, $3, shard, 0, n, max_id, coalesce((
            select sum(events)::bigint
            from past
            where past.part % $4::int = shard and topic = any ($5)
        ), 0)
        from first, generate_series(0, $4::int - 1) as shard
        where not exists (
            select from outbox.position
            where consumer = $1 and generation = $2 and lane = $3
        )
        ",
        registered.id,
        registered.generation,
        lane.code(),
        i32::from(registered.shards),
        topics,
    )
    .execute(tx)
    .await
    .map(drop)
}
