//! The worker: runs consumers in this process, each from its own positions.
//!
//! Per consumer and lane one loop reads the log a page at a time and gives each shard that this
//! process owns its events; one more loop tries the deliveries in trouble. Every loop is a step
//! plus waiting, and is started again should it panic.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use uuid::Uuid;

use crate::append::{Origin, Outbox};
use crate::batch::{Batch, SEALED};
use crate::breaker::Breakers;
use crate::consumer::{self, ConsumerSpec, Dedupe, External, Registered, Transactional};
use crate::delivery::claim;
use crate::event::{Event, Lane};
use crate::member::{self, BEATS_WITHIN, Claimant, HEARTBEAT, Role};
use crate::position;
use crate::supervise::{RunError, Watch, answered, supervised};
use crate::trace;
use crate::transport::{Reader, Transport};
use crate::wake::{Ear, Listener};

pub(crate) use self::pulse::Pulse;

mod external;
mod failure;
mod in_hand;
mod lane;
mod parked;
mod pulse;
mod runner;
mod transactional;

use external::ExternalRunner;
use in_hand::InHand;
use runner::Runner;
use transactional::TransactionalRunner;

/// How long a stop waits for calls that outlasted their batch.
const SLOW_CALLS: Duration = Duration::from_secs(5);

/// How a worker process behaves. By default it hears wake-ups on loopback, looks by itself every
/// half a second, holds claims for 10 seconds beyond a call's timeout, and reads from Postgres.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// The address on which wake-ups are heard: loopback, unless relay and workers run on several
    /// hosts; then one of this host that the others can reach.
    pub host: IpAddr,
    /// How long an idle loop waits for a wake-up before it looks by itself.
    pub poll: Duration,
    /// How many seconds a claim on a shard or a delivery holds beyond its calls' timeout.
    pub lease_s: i32,
    /// From where the log is read.
    pub transport: Transport,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self {
            host: Ipv4Addr::LOCALHOST.into(),
            poll: Duration::from_millis(500),
            lease_s: 10,
            transport: Transport::Postgres,
        }
    }
}

/// What all loops of a process share.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) outbox: Outbox,
    pub(crate) reader: Reader,
    pub(crate) pulse: watch::Receiver<Pulse>,
    pub(crate) config: WorkerConfig,
    /// This process, as a member and as the owner of claims.
    pub(crate) member: Uuid,
    /// Calls that outlasted their batch.
    pub(crate) alone: TaskTracker,
    pub(crate) breakers: Breakers,
}

/// A consumer in this process.
#[derive(Debug, Clone)]
pub(crate) struct Subscription {
    pub(crate) context: Context,
    pub(crate) spec: ConsumerSpec,
    pub(crate) registered: Registered,
    /// Those of the specification and that of seals, as the database takes them.
    pub(crate) topics: Arc<[String]>,
    /// The deliveries that it is busy with.
    pub(crate) in_hand: InHand,
}

impl Subscription {
    /// Follow-up events name the consumer as their actor and the event as their cause, and belong
    /// to its batch.
    pub(crate) fn origin(&self, lane: Lane, cause: Option<&Event>) -> Origin {
        let origin = Origin::of(format!("consumer {}", self.spec.name));
        Origin {
            lane,
            caused_by: cause.map(|event| event.event_id),
            request_id: cause.and_then(|event| event.request_id),
            traceparent: trace::current().or_else(|| cause?.traceparent.clone()),
            batch: cause.and_then(Batch::of),
            ..origin
        }
    }

    /// The same for events that are handled together: members of one batch, or of none.
    pub(crate) fn origin_of(&self, lane: Lane, events: &[Event]) -> Origin {
        match events {
            [only] => self.origin(lane, Some(only)),
            events => Origin {
                batch: events.first().and_then(Batch::of),
                ..self.origin(lane, None)
            },
        }
    }

    pub(crate) fn id(&self) -> i16 {
        self.registered.id
    }

    pub(crate) fn reads(&self, event: &Event) -> bool {
        self.spec.topics.contains(&event.topic.as_str())
    }

    pub(crate) fn claimant(&self, succeeds_silent: bool) -> Claimant {
        Claimant {
            consumer: self.id(),
            member: self.context.member,
            seconds: self.lease_s(),
            succeeds_silent,
        }
    }

    /// How long a claim for calls lasts, in seconds.
    pub(crate) fn lease_s(&self) -> i32 {
        let call = i32::try_from(self.spec.call_timeout.as_secs()).unwrap_or(i32::MAX / 2);
        call + self.context.config.lease_s
    }
}

type Start =
    Box<dyn FnOnce(Registered, &Context, &Ear, &CancellationToken, &mut JoinSet<()>) + Send>;

/// Runs consumers until it is told to stop.
pub struct Worker {
    outbox: Outbox,
    config: WorkerConfig,
    consumers: Vec<(ConsumerSpec, Start)>,
}

impl Worker {
    /// A worker without consumers yet.
    #[must_use]
    pub fn new(outbox: Outbox, config: WorkerConfig) -> Self {
        Self {
            outbox,
            config,
            consumers: Vec::new(),
        }
    }

    /// Adds a consumer whose effects are rows of this database.
    pub fn transactional(&mut self, spec: ConsumerSpec, handler: impl Transactional) {
        let handler = Arc::new(handler);
        self.add(spec, move |subscription| {
            TransactionalRunner::new(subscription, handler)
        });
    }

    /// Adds a consumer with effects outside this database.
    pub fn external<H: External>(&mut self, spec: ConsumerSpec, handler: H) {
        if H::DEDUPE == Dedupe::AtLeastOnce {
            tracing::warn!(
                consumer = spec.name,
                "A crash in the middle of a call of {} can repeat it: its sink neither looks up \
                 nor deduplicates",
                spec.name
            );
        }
        let handler = Arc::new(handler);
        self.add(spec, move |subscription| {
            ExternalRunner::new(subscription, handler)
        });
    }

    #[cfg(feature = "testing")]
    pub(crate) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    #[cfg(feature = "testing")]
    pub(crate) fn specs(&self) -> impl Iterator<Item = &ConsumerSpec> {
        self.consumers.iter().map(|(spec, _)| spec)
    }

    fn add<R: Runner>(
        &mut self,
        spec: ConsumerSpec,
        runner: impl FnOnce(Subscription) -> R + Send + 'static,
    ) {
        let own = spec.clone();
        let start: Start = Box::new(move |registered, context, ear, shutdown, tasks| {
            let context = context.clone();
            let topics = own.topics.iter().chain(&[SEALED]);
            let topics = topics.map(ToString::to_string).collect();
            let runner = Arc::new(runner(Subscription {
                context,
                spec: own,
                registered,
                topics,
                in_hand: InHand::default(),
            }));
            for lane in Lane::ALL {
                let (runner, shutdown, listener) =
                    (Arc::clone(&runner), shutdown.clone(), ear.listener());
                tasks.spawn(supervised("worker", shutdown.clone(), move || {
                    lane::run(
                        Arc::clone(&runner),
                        lane,
                        listener.clone(),
                        shutdown.clone(),
                    )
                }));
            }
            let shutdown = shutdown.clone();
            tasks.spawn(supervised("worker", shutdown.clone(), move || {
                parked::run(Arc::clone(&runner), shutdown.clone())
            }));
        });
        self.consumers.push((spec, start));
    }

    /// Runs until `shutdown`; then finishes the batches in hand, waits a few seconds for slow
    /// calls, writes the positions, gives back its claims and leaves.
    ///
    /// # Errors
    /// When the log is another cluster's, the consumers cannot be registered, or no socket can be
    /// opened for wake-ups. Later trouble with the database is waited out.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), RunError> {
        let watch = Watch::begin(self.outbox.pool(), &shutdown).await?;
        let shutdown = watch.stop();
        let topics: BTreeSet<&str> = (self.consumers.iter())
            .flat_map(|(spec, _)| spec.topics.iter().copied())
            .chain([SEALED])
            .collect();
        let topics = topics.into_iter().map(str::to_owned);
        let ear = Ear::listen(self.config.host).await?;
        let (feeling, pulse) = watch::channel(Pulse::default());
        let context = Context {
            reader: Reader::new(
                &self.config.transport,
                self.outbox.pool().clone(),
                topics,
                (ear.listener(), pulse.clone()),
            ),
            pulse,
            outbox: self.outbox,
            config: self.config,
            member: crate::ids::new(),
            alone: TaskTracker::new(),
            breakers: Breakers::default(),
        };
        let mut roles = Vec::new();
        let mut starts = Vec::new();
        for (spec, start) in self.consumers {
            let registered = consumer::registered(context.outbox.pool(), &spec).await?;
            roles.push(registered.id);
            starts.push((registered, start));
        }
        say(&context, &roles, ear.address()).await?;
        let silence = CancellationToken::new();
        let beats = beat(context.clone(), roles, ear.address(), silence.clone());
        let beating = AbortOnDropHandle::new(tokio::spawn(beats));
        let mut tasks = JoinSet::new();
        let feel = pulse::Feeler {
            pool: context.outbox.pool().clone(),
            pulse: feeling,
            listener: ear.listener(),
            poll: context.config.poll,
            watch: watch.clone(),
        };
        tasks.spawn(supervised("worker", shutdown.clone(), move || {
            feel.clone().run()
        }));
        for (registered, start) in starts {
            start(registered, &context, &ear, &shutdown, &mut tasks);
        }
        tasks.spawn(watch.clone().keep_looking());
        while tasks.join_next().await.is_some() {}
        give_back(&context).await;
        // A beat after the farewell would keep our shards from the others until it is forgotten.
        silence.cancel();
        drop(beating.await);
        let leaving = member::leave(context.outbox.pool(), context.member);
        if let Err(error) = answered(BEATS_WITHIN, leaving).await {
            tracing::warn!(%error, "The worker left without saying so; its heartbeat runs out");
        }
        watch.end()
    }
}

/// The loops have ended. Once no call is under way either, a successor need not wait for any claim.
/// If one is, its claim stays: where a repeated call is harmless, leaving voids it.
async fn give_back(context: &Context) {
    context.alone.close();
    if tokio::time::timeout(SLOW_CALLS, context.alone.wait())
        .await
        .is_err()
    {
        tracing::warn!(
            calls = context.alone.len(),
            "Calls are under way at the stop; their answers may be lost, and are asked for again"
        );
        return;
    }
    let (pool, member) = (context.outbox.pool(), context.member);
    let released = async {
        position::release(pool, member).await?;
        claim::release(pool, member).await
    };
    if let Err(error) = answered(SLOW_CALLS, released).await {
        tracing::warn!(%error, "The worker's claims were not given back; they run out");
    }
}

/// Waits for a wake-up, for the poll to run out, or for the stop.
pub(crate) async fn idle(shutdown: &CancellationToken, listener: &mut Listener, poll: Duration) {
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = listener.wait(poll) => {}
    }
}

async fn beat(context: Context, roles: Vec<i16>, address: SocketAddr, silence: CancellationToken) {
    let mut every = tokio::time::interval(HEARTBEAT);
    while silence.run_until_cancelled(every.tick()).await.is_some() {
        let said = say(&context, &roles, address);
        if let Err(error) = answered(BEATS_WITHIN, said).await {
            tracing::debug!(%error, "A heartbeat of the worker was not written");
        }
    }
}

/// Says that we live, and which of our consumers cannot work now.
async fn say(context: &Context, roles: &[i16], address: SocketAddr) -> Result<(), sqlx::Error> {
    let roles: Vec<Role> = roles
        .iter()
        .map(|consumer| Role {
            consumer: *consumer,
            closed_for: context.breakers.of(*consumer).open_for(),
        })
        .collect();
    member::beat(context.outbox.pool(), context.member, &roles, address).await
}
