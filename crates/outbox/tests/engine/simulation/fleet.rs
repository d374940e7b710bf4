//! The fleet of a schedule: writers, relays and workers, and what happens to them.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use outbox::operation::reshard;

use super::handlers::{self, Moods};
use super::invariants::{ENDED, EVERYTHING, broken};
use super::writers::{self, Work, Written};
use crate::batches;
use crate::host::Host;
use crate::proxy::{PAGE, Proxy};
use crate::scene::{Scene, by, until};
use crate::schedule::Dice;
use crate::wrong;

/// What comes at all comes within seconds; what a mutant breaks is waited for less long.
const PATIENCE: Duration = Duration::from_secs(60);
const PATIENCE_WITH_A_MUTANT: Duration = Duration::from_secs(20);
/// What goes on meanwhile makes a moment.
const MOMENT: i64 = 20;
/// Where the line of one worker freezes: before it reads, before it claims or begins to settle, and
/// in the middle of that.
const STATEMENTS: [&str; 4] = [
    PAGE,
    "-- position: claim",
    "idle_in_transaction_session_timeout = '5s'",
    "-- position: advance",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Writer,
    Worker,
    Relay,
}

impl Display for Role {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Writer => "writer",
            Self::Worker => "worker",
            Self::Relay => "relay",
        })
    }
}

/// Which of the fleet something happens to: a worker has the most to lose.
const ROLES: [Role; 4] = [Role::Writer, Role::Worker, Role::Worker, Role::Relay];
const FIRST: [Role; 7] = [
    Role::Worker,
    Role::Relay,
    Role::Worker,
    Role::Relay,
    Role::Writer,
    Role::Writer,
    Role::Writer,
];

struct Frozen {
    role: Role,
    host: Host,
    /// What holds its line, if that is what is frozen of it.
    line: Option<Proxy>,
}

pub(super) struct Fleet {
    scene: Scene,
    dice: Dice,
    seed: u64,
    started: u64,
    work: Work,
    moods: Moods,
    live: Vec<(Role, Host)>,
    frozen: Vec<Frozen>,
    /// Workers and relays that were frozen and go on.
    thawed: Vec<Host>,
}

impl Fleet {
    pub(super) async fn begin(seed: u64) -> Self {
        let scene = Scene::new().await;
        let aggregates = "create table shop.aggregate (key uuid primary key, version bigint)";
        scene.sql(aggregates).await;
        let mut dice = Dice::seeded(seed);
        let moods = Moods::drawn(&mut dice);
        let mut this = Self {
            scene,
            dice,
            seed,
            started: 0,
            work: Work::new(),
            moods,
            live: Vec::new(),
            frozen: Vec::new(),
            thawed: Vec::new(),
        };
        this.start_on_a_line().await;
        for role in FIRST {
            this.start(role).await;
        }
        this.next_batch().await;
        this
    }

    /// Seals the batch to which members are appended, and opens another: some writers learn of it
    /// when they are refused.
    pub(super) async fn next_batch(&self) {
        let opened = batches::open(&self.scene).await;
        if let Some(full) = self.work.fill(Some(opened)) {
            batches::seal(&self.scene, full).await;
        }
    }

    pub(super) fn number_of_faults(&mut self) -> usize {
        3 + self.dice.below(3)
    }

    /// A worker that freezes at a statement, wherever the others are then.
    async fn start_on_a_line(&mut self) {
        let statement = STATEMENTS[self.dice.below(STATEMENTS.len())];
        let proxy = Proxy::start(self.scene.url(), statement).await;
        let moods = self.moods.clone();
        let config = ("worker on a line", handlers::config());
        let start = Host::behind_with(&self.scene, &proxy, config, |worker| {
            moods.consumers(worker);
        });
        let (role, host, line) = (Role::Worker, start.await, Some(proxy));
        self.frozen.push(Frozen { role, host, line });
    }

    async fn start(&mut self, role: Role) {
        self.started += 1;
        let name = format!("{role} {}", self.started);
        let host = match role {
            Role::Writer => {
                let work = self.work.clone();
                let dice = Dice::seeded(self.seed * 31 + self.started);
                Host::doing(&self.scene, &name, async |outbox, stop| {
                    writers::write(outbox, stop, work, dice).await;
                })
            }
            Role::Worker => {
                let moods = self.moods.clone();
                let config = handlers::config();
                Host::worker_with(&self.scene, &name, config, |worker| moods.consumers(worker))
                    .await
            }
            Role::Relay => Host::relay(&self.scene, &name).await,
        };
        self.live.push((role, host));
    }

    /// Something happens to one of the fleet; another takes the place of one that is gone.
    pub(super) async fn fault(&mut self) -> String {
        let role = ROLES[self.dice.below(ROLES.len())];
        let all = self.live.iter().enumerate();
        let places: Vec<usize> = all
            .filter(|(_, of)| of.0 == role)
            .map(|(at, _)| at)
            .collect();
        let at = places[self.dice.below(places.len())];
        let what = match self.dice.below(5) {
            0 => {
                self.live.remove(at).1.kill();
                self.notice_the_dead().await;
                self.start(role).await;
                "killed"
            }
            1 => {
                self.live.remove(at).1.stop().await;
                self.start(role).await;
                "stopped"
            }
            2 => {
                self.live[at].1.end_sessions(&self.scene).await;
                "disconnected"
            }
            3 => {
                self.live[at].1.freeze().await;
                self.pass_a_moment().await;
                self.live[at].1.thaw();
                "frozen for a moment"
            }
            _ => {
                let (role, mut host) = self.live.remove(at);
                host.freeze().await;
                let line = None;
                self.frozen.push(Frozen { role, host, line });
                self.notice_the_dead().await;
                self.start(role).await;
                "frozen"
            }
        };
        format!("a {role} was {what}")
    }

    /// One of those that are frozen goes on, or none. Another has taken its place long ago, and the
    /// positions that it knows may be gone.
    pub(super) async fn thaw_perhaps(&mut self) -> Option<String> {
        let drawn = self.dice.below(2 * self.frozen.len().max(1));
        if drawn >= self.frozen.len() {
            return None;
        }
        let frozen = self.frozen.remove(drawn);
        Some(self.thaw(frozen).await)
    }

    async fn thaw(&mut self, mut frozen: Frozen) -> String {
        self.prune().await;
        match &frozen.line {
            Some(line) => line.thaw(),
            None => frozen.host.thaw(),
        }
        if frozen.role == Role::Writer {
            self.live.push((frozen.role, frozen.host));
        } else {
            self.thawed.push(frozen.host);
        }
        format!("a frozen {} went on", frozen.role)
    }

    /// Prunes positions as the engine does, an hour later.
    async fn prune(&self) {
        let old = "update outbox.position set at = at - interval '2 hours'";
        self.scene.sql(old).await;
        let prune = "delete from outbox.position as old
            where at < clock_timestamp() - interval '1 hour' and n < (
                select max(n) from outbox.position as newest
                where newest.consumer = old.consumer and newest.generation = old.generation
                    and newest.lane = old.lane and newest.shard = old.shard)";
        self.scene.sql(prune).await;
    }

    /// The keys of a consumer are divided otherwise, unless somebody claims some of them. Into so
    /// many that the worker on a line, which keeps its shards as long as it is alive, cannot have
    /// them all.
    pub(super) async fn reshard_perhaps(&mut self) -> Option<String> {
        if self.dice.below(4) > 0 {
            return None;
        }
        let shards = i16::try_from(6 + self.dice.below(9)).unwrap();
        let done = reshard(&self.scene.pool, "notebook", shards, &by()).await;
        Some(match done {
            Ok(_) => format!("the notebook was divided into {shards} shards"),
            Err(refused) => format!("the notebook was not divided: {refused}"),
        })
    }

    /// Time passes for the heartbeats, so that a killed worker is known for dead in a second; those
    /// that live are back at their next beat.
    async fn notice_the_dead(&self) {
        let pass = "update outbox.member set heartbeat = heartbeat - interval '5 seconds'";
        self.scene.sql(pass).await;
    }

    /// Until the others have come further, or wait for one that is frozen.
    async fn pass_a_moment(&self) {
        let waiting = "select count(*) from shop.session where wait_event_type = 'Lock'";
        let handled = "select count(*) from shop.handled";
        let before = self.scene.count(handled).await;
        until("a moment passes", async || {
            self.scene.count(handled).await >= before + MOMENT
                || self.scene.count(waiting).await > 0
                || self.work.is_done()
        })
        .await;
    }

    /// Until so many are handled, or all are written: the worker on a line may have most of the
    /// keys to itself.
    pub(super) async fn until_next_fault(&self, events: usize, told: &str) {
        let is_due = async || self.handled("notebook").await >= events || self.work.is_done();
        self.wait_for(is_due, EVERYTHING, told).await;
    }

    pub(super) async fn until_all_handled(&self, written: Written, told: &str) {
        for consumer in ["notebook", "carrier"] {
            let told = format!("{told}, by {consumer}");
            let is_reached = async || self.handled(consumer).await >= written.logged;
            self.wait_for(is_reached, EVERYTHING, &told).await;
        }
    }

    async fn handled(&self, consumer: &str) -> usize {
        let count = "select count(*) from shop.handled where consumer = $1";
        let count = sqlx::query_scalar::<_, i64>(count).bind(consumer);
        usize::try_from(count.fetch_one(&self.scene.pool).await.unwrap()).unwrap()
    }

    /// Until all batches have ended. One that waits for nobody, and is not told so, never does.
    pub(super) async fn until_batches_end(&self, told: &str) {
        let open = "select count(*) from outbox.batch where done_at is null";
        let are_over = async || self.scene.count(open).await == 0;
        self.wait_for(are_over, ENDED, told).await;
    }

    /// Waits, while the server ends what the frozen have left open.
    async fn wait_for(&self, is_reached: impl AsyncFn() -> bool, invariant: &str, told: &str) {
        let patience = match wrong::chosen() {
            Some(_) => PATIENCE_WITH_A_MUTANT,
            None => PATIENCE,
        };
        let waited = testkit::until(told, patience, async || {
            for frozen in &self.frozen {
                frozen.host.end_idle(&self.scene).await;
            }
            is_reached().await.then_some(())
        });
        if waited.await.is_err() {
            println!("in trouble: {:#?}", self.scene.trouble().await);
            println!("standing: {:#?}", self.scene.standing().await);
            broken(invariant, told);
        }
    }

    /// Waits for the writers to end; then whoever is frozen goes on.
    pub(super) async fn finish_writing(&mut self, told: &str) -> Written {
        let is_done = async || self.work.is_done();
        self.wait_for(is_done, EVERYTHING, told).await;
        self.notice_the_dead().await;
        for frozen in std::mem::take(&mut self.frozen) {
            self.thaw(frozen).await;
        }
        let writers = self.live.extract_if(.., |of| of.0 == Role::Writer);
        for (_, writer) in writers.collect::<Vec<_>>() {
            writer.stop().await;
        }
        if let Some(last) = self.work.fill(None) {
            batches::seal(&self.scene, last).await;
        }
        let logged = "select count(*) from outbox.event where topic = 'order.placed'";
        Written {
            logged: usize::try_from(self.scene.count(logged).await).unwrap(),
            acknowledged: self.work.acknowledged(),
        }
    }

    /// Waits for those that were frozen to end what they were at.
    pub(super) async fn stop_who_was_frozen(self) -> Scene {
        for host in self.thawed {
            host.stop().await;
        }
        self.scene
    }
}
