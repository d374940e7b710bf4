//! A hundred schedules: writers, relays and workers that are stopped, frozen, killed and
//! disconnected in an order drawn from a seed. Whatever the order, each event is handled once by
//! each consumer, and the events of a key in the order of their commits.
//!
//! `OUTBOX_SEED=17` runs that schedule alone, in each of the tests that share the hundred. A
//! schedule that fails names the invariant that it broke: `broken: <invariant> (seed 17, …)`, which
//! is what `cargo xtask mutants --hunt` reads.

use std::time::Duration;

use outbox::{Act, Lane, NewEvent, Origin, Outbox};
use serde_json::json;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::host::Host;
use crate::proxy::{PAGE, Proxy};
use crate::scene::{Scene, impatient, keys};
use crate::schedule::Dice;
use crate::shop::{Carrier, Notebook};
use crate::wrong::patience;

const WRITERS: usize = 3;
const TRANSACTIONS: usize = 130;
/// Schedules of one test.
const EACH: u64 = 25;
/// What comes at all comes within seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// A schedule in which it does not come true is a stall or a loss.
const EVERYTHING: &str = "everything is handled";
const ONCE: &str = "each event is handled once by each consumer";
const ORDERED: &str = "the events of a key and lane are handled in the order of their commits";
const UNTROUBLED: &str = "nothing is left in trouble";
const COUNTED: &str = "positions count what they pass";

struct Simulation {
    scene: Scene,
    dice: Dice,
    started: usize,
    workers: Vec<Host>,
    relays: Vec<Host>,
}

impl Simulation {
    async fn begin(seed: u64) -> Self {
        let scene = Scene::new().await;
        let aggregates = "create table shop.aggregate (key uuid primary key, version bigint)";
        scene.sql(aggregates).await;
        let mut this = Self {
            scene,
            dice: Dice::seeded(seed),
            started: 0,
            workers: Vec::new(),
            relays: Vec::new(),
        };
        for _ in 0..2 {
            this.start_worker().await;
            this.start_relay().await;
        }
        this
    }

    fn name(&mut self, role: &str) -> String {
        self.started += 1;
        format!("{role} {}", self.started)
    }

    async fn start_worker(&mut self) {
        let name = self.name("worker");
        let worker = Host::worker(&self.scene, &name, consumers).await;
        self.workers.push(worker);
    }

    async fn start_relay(&mut self) {
        let name = self.name("relay");
        self.relays.push(Host::relay(&self.scene, &name).await);
    }

    /// Something happens to one of the processes; another takes the place of one that is gone.
    async fn fault(&mut self) -> &'static str {
        let (worker, relay) = (self.dice.below(2), self.dice.below(2));
        match self.dice.below(6) {
            0 => {
                self.workers.remove(worker).kill();
                self.notice_the_dead().await;
                self.start_worker().await;
                "a worker was killed"
            }
            1 => {
                self.workers.remove(worker).stop().await;
                self.start_worker().await;
                "a worker was stopped"
            }
            2 => {
                self.workers[worker].end_sessions(&self.scene).await;
                "a worker was disconnected"
            }
            3 => {
                self.relays.remove(relay).kill();
                self.start_relay().await;
                "a relay was killed"
            }
            4 => {
                self.relays.remove(relay).stop().await;
                self.start_relay().await;
                "a relay was stopped"
            }
            _ => {
                self.relays[relay].end_sessions(&self.scene).await;
                "a relay was disconnected"
            }
        }
    }

    /// Time passes for the heartbeats, so that a killed worker is known for dead in a second; those
    /// that live are back at their next beat.
    async fn notice_the_dead(&self) {
        let pass = "update outbox.member set heartbeat = heartbeat - interval '5 seconds'";
        self.scene.sql(pass).await;
    }

    async fn handled(&self, consumer: &str) -> usize {
        let count = "select count(*) from shop.handled where consumer = $1";
        let count = sqlx::query_scalar::<_, i64>(count).bind(consumer);
        usize::try_from(count.fetch_one(&self.scene.pool).await.unwrap()).unwrap()
    }
}

fn consumers(worker: &mut outbox::Worker) {
    worker.transactional(impatient("notebook", 9), Notebook::of("notebook"));
    let carrier = Carrier::with(|_| async { Act::Answer("sent".to_owned()) });
    worker.external(impatient("carrier", 9), carrier);
}

/// Commits changes of aggregates with their events; some are rolled back, some stay open a while.
async fn write(outbox: Outbox, keys: Vec<Uuid>, mut dice: Dice) -> usize {
    let mut events = 0;
    for _ in 0..TRANSACTIONS {
        let lane = Lane::ALL[dice.below(2)];
        let origin = Origin {
            lane,
            ..Origin::of("customer")
        };
        let mut tx = outbox.begin(origin).await.unwrap();
        let mut changed: Vec<Uuid> = (0..=dice.below(6))
            .map(|_| keys[dice.below(keys.len())])
            .collect();
        changed.sort();
        changed.dedup();
        for key in &changed {
            let version: i64 = sqlx::query_scalar(
                "insert into shop.aggregate (key, version) values ($1, 1)
                on conflict (key) do update set version = aggregate.version + 1
                returning version",
            )
            .bind(key)
            .fetch_one(&mut *tx)
            .await
            .unwrap();
            let locked = tx.locked(*key);
            tx.append(
                locked,
                NewEvent::new("order.placed", 1, json!({ "version": version })),
            );
        }
        match dice.below(20) {
            0 => continue,
            1 => tokio::task::yield_now().await,
            2 => {
                sqlx::query("select pg_sleep(0.03)")
                    .execute(&mut *tx)
                    .await
                    .unwrap();
            }
            _ => {}
        }
        tx.commit().await.unwrap();
        events += changed.len();
    }
    events
}

async fn run(seed: u64) {
    let mut this = Simulation::begin(seed).await;
    let proxy = Proxy::start(this.scene.url(), PAGE).await;
    let frozen = Host::behind(&this.scene, &proxy, "frozen", consumers).await;
    let aggregates = keys(15);
    let mut writers = JoinSet::new();
    for n in 0..WRITERS {
        let outbox = this.scene.as_seen_by("writer", 2).await;
        let dice = Dice::seeded(seed * 31 + n as u64 + 1);
        writers.spawn(write(outbox, aggregates.clone(), dice));
    }
    let mut faults = Vec::new();
    for n in 1..=3 + this.dice.below(3) {
        let told = format!("seed {seed}, {faults:?}");
        until_handled(&this, "notebook", n * 60, &told).await;
        faults.push(this.fault().await);
    }
    let mut events = 0;
    while let Some(written) = writers.join_next().await {
        events += written.unwrap();
    }
    this.notice_the_dead().await;
    proxy.thaw();
    let told = format!("seed {seed}, {events} events, {faults:?}");
    for consumer in ["notebook", "carrier"] {
        until_handled(&this, consumer, events, &told).await;
    }
    frozen.stop().await;
    check(&this.scene, events, &told).await;
}

fn broken(invariant: &str, told: &str) -> ! {
    panic!("broken: {invariant} ({told})")
}

async fn until_handled(simulation: &Simulation, consumer: &str, events: usize, told: &str) {
    let waited = testkit::until(told, patience(PATIENCE), async || {
        (simulation.handled(consumer).await >= events).then_some(())
    });
    if waited.await.is_err() {
        broken(EVERYTHING, &format!("{told}, by {consumer}"));
    }
}

/// What is handled twice makes up for nothing that is lost: hence the order.
const CHECKS: [(&str, &str); 3] = [
    (
        ONCE,
        "select count(*) from (
            select 1 from shop.handled group by consumer, event_id having count(*) <> 1
        ) as repeated",
    ),
    (
        ORDERED,
        "select count(*) from (
            select version < lag(version) over (partition by consumer, key, lane order by n)
                as is_early
            from (
                select consumer, handled.key, lane, n,
                    (payload ->> 'version')::bigint as version
                from shop.handled join outbox.event using (event_id)
            ) as handled
        ) as ordered where is_early",
    ),
    (UNTROUBLED, "select count(*) from outbox.delivery"),
];

async fn check(scene: &Scene, events: usize, told: &str) {
    assert!(events >= 1_000, "{told}");
    for (invariant, rows) in CHECKS {
        if scene.count(rows).await > 0 {
            broken(invariant, told);
        }
    }
    let events = i64::try_from(events).unwrap();
    let passed = "select coalesce(sum(passed), 0)::bigint from (
        select distinct on (consumer, lane, shard) passed from outbox.position
        order by consumer, lane, shard, n desc) as newest";
    for (invariant, number) in [
        (EVERYTHING, "select count(*) from shop.handled"),
        (COUNTED, passed),
    ] {
        if scene.count(number).await != 2 * events {
            broken(invariant, told);
        }
    }
}

async fn run_all(first: u64) {
    let chosen = std::env::var("OUTBOX_SEED").ok();
    let seeds = match chosen.and_then(|seed| seed.parse().ok()) {
        Some(seed) => seed..seed + 1,
        None => first..first + EACH,
    };
    for seed in seeds {
        println!("seed {seed}");
        run(seed).await;
    }
}

#[tokio::test]
async fn schedules_of_the_first_quarter() {
    run_all(1).await;
}

#[tokio::test]
async fn schedules_of_the_second_quarter() {
    run_all(1 + EACH).await;
}

#[tokio::test]
async fn schedules_of_the_third_quarter() {
    run_all(1 + 2 * EACH).await;
}

#[tokio::test]
async fn schedules_of_the_fourth_quarter() {
    run_all(1 + 3 * EACH).await;
}
