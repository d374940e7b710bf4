//! A database of its own for a test, with the engine's schema and a small shop in it.

use std::any::Any;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use outbox::delivery::dead::{self, Choice, DeadLetter};
use outbox::operation::By;
use outbox::{Backoff, ConsumerSpec, Cut, NewEvent, Origin, Outbox, Relay};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, PgPool};
use testkit::{Server, Template, TestDb};
use uuid::Uuid;

use crate::wrong::{self, patience};

const SHOP: &str = include_str!("shop.sql");
const PATIENCE: Duration = Duration::from_secs(25);

/// A database, dropped when this value is.
pub(crate) struct Scene {
    url: String,
    /// What keeps the database there.
    _home: Box<dyn Any + Send>,
    pub(crate) pool: PgPool,
    pub(crate) outbox: Outbox,
}

impl Scene {
    pub(crate) async fn new() -> Self {
        let mut hasher = DefaultHasher::new();
        SHOP.hash(&mut hasher);
        for migration in outbox::MIGRATOR.iter() {
            migration.checksum.hash(&mut hasher);
        }
        let template = Template::new("shop", hasher.finish());
        let db = TestDb::from_template(template, async |pool| {
            outbox::migrate(&pool).await?;
            sqlx::raw_sql(SHOP).execute(&pool).await?;
            Ok(())
        });
        let db = db.await.unwrap();
        wrong::schema(db.url()).await;
        Self::at(db.url().to_owned(), db).await
    }

    /// In a database that was made another way.
    pub(crate) async fn at(url: String, home: impl Any + Send) -> Self {
        let pool = pool(&url, "scene", 5).await;
        let outbox = Outbox::new(pool.clone());
        Self {
            url,
            _home: Box::new(home),
            pool,
            outbox,
        }
    }

    /// In a server of its own, which the caller keeps.
    pub(crate) async fn new_in(server: &Server) -> Self {
        let scene = Self::at(server.url(), ()).await;
        outbox::migrate(&scene.pool).await.unwrap();
        sqlx::raw_sql(SHOP).execute(&scene.pool).await.unwrap();
        scene
    }

    /// In a new server: the database of this one, as a dump of this instant brings it there.
    pub(crate) async fn restored_elsewhere(&self) -> Self {
        let server = Server::start(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let file = server.data_dir().join("dump.sql");
        testkit::dump(self.url(), &file).unwrap();
        testkit::restore(&file, &server.url()).unwrap();
        Self::at(server.url(), server).await
    }

    /// Another process' view of the same database: a pool of its own, named `who`.
    pub(crate) async fn as_seen_by(&self, who: &str, connections: u32) -> Outbox {
        Outbox::new(pool(self.url(), who, connections).await)
    }

    /// A connection of its own, to hold a transaction open by hand.
    pub(crate) async fn connection(&self) -> PgConnection {
        PgConnection::connect(self.url()).await.unwrap()
    }

    /// A connection to another database of the same server.
    pub(crate) async fn elsewhere(&self) -> PgConnection {
        let options: PgConnectOptions = self.url().parse().unwrap();
        options.database("billing").connect().await.unwrap()
    }

    /// What a worker or relay on a runtime of its own connects to.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// A pool with these connection options on top.
    pub(crate) async fn pool_with(
        &self,
        change: impl FnOnce(PgConnectOptions) -> PgConnectOptions,
    ) -> PgPool {
        let options: PgConnectOptions = self.url().parse().unwrap();
        PgPoolOptions::new()
            .connect_with(change(options))
            .await
            .unwrap()
    }

    pub(crate) fn relay(&self) -> Relay {
        Relay::new(self.outbox.clone())
    }

    /// Cuts ticks until nothing is left, and says how many.
    pub(crate) async fn publish(&self) -> usize {
        let mut ticks = 0;
        while self.relay().cut().await.unwrap() != Cut::Nothing {
            ticks += 1;
        }
        ticks
    }

    /// Places an order: its row and its event.
    pub(crate) async fn order(&self, key: Uuid) -> Uuid {
        self.orders(&[key], Origin::of("customer")).await[0]
    }

    /// Orders of one transaction, in this order; answers their events.
    pub(crate) async fn orders(&self, keys: &[Uuid], origin: Origin) -> Vec<Uuid> {
        let mut tx = self.outbox.begin(origin).await.unwrap();
        let mut events = Vec::new();
        for key in keys {
            let locked = tx.locked(*key);
            events.push(tx.append(locked, placed()));
        }
        tx.commit().await.unwrap();
        events
    }

    /// Runs a statement and says how many rows it touched.
    pub(crate) async fn sql(&self, sql: &'static str) -> u64 {
        sqlx::query(sql)
            .execute(&self.pool)
            .await
            .unwrap()
            .rows_affected()
    }

    /// One number.
    pub(crate) async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.unwrap()
    }

    /// What handlers wrote down, oldest first: consumer, event, key.
    pub(crate) async fn handled(&self) -> Vec<(String, Uuid, Uuid)> {
        sqlx::query_as("select consumer, event_id, key from shop.handled order by n")
            .fetch_all(&self.pool)
            .await
            .unwrap()
    }

    /// The events that `consumer` wrote down, oldest first.
    pub(crate) async fn handled_by(&self, consumer: &str) -> Vec<Uuid> {
        let all = self.handled().await;
        all.into_iter()
            .filter(|row| row.0 == consumer)
            .map(|row| row.1)
            .collect()
    }

    /// Waits until a count is what it should be.
    pub(crate) async fn until_count(&self, sql: &'static str, number: i64) {
        until(sql, async || self.count(sql).await == number).await;
    }

    pub(crate) async fn until_dead(&self, number: usize) -> Vec<DeadLetter> {
        until("there are dead letters", async || {
            self.dead().await.len() >= number
        })
        .await;
        self.dead().await
    }

    async fn dead(&self) -> Vec<DeadLetter> {
        dead::list(&self.pool, &Choice::default(), 100)
            .await
            .unwrap()
    }

    /// All members are dead to the others, as after a long silence.
    pub(crate) async fn forget_members(&self) {
        self.sql("update outbox.member set heartbeat = now() - interval '1 minute'")
            .await;
    }

    /// Each process sees no members but itself, and so takes all shards for its own.
    pub(crate) async fn let_everyone_believe_to_be_alone(&self) {
        let views = "alter table outbox.member rename to everyone;
            alter table outbox.everyone
                add column who text not null default current_setting('application_name');
            create view outbox.member as
                select member, consumer, address, heartbeat, closed_until from outbox.everyone
                where current_setting('application_name') in (who, 'scene')";
        sqlx::raw_sql(views).execute(&self.pool).await.unwrap();
    }

    pub(crate) async fn until_handled(&self, consumer: &str, number: usize) {
        let what = format!("{consumer} handled {number} events");
        let waited = testkit::until(&what, patience(PATIENCE), async || {
            let handled = self.handled_by(consumer).await.len();
            (handled >= number).then_some(())
        });
        if let Err(error) = waited.await {
            panic!("{error:#}; in trouble: {:#?}", self.trouble().await);
        }
    }

    /// The deliveries, in words.
    pub(crate) async fn trouble(&self) -> Vec<String> {
        let words = "select concat_ws(' ', state, attempt, next_at - now(), deadline - now(), \
            last_error) from outbox.delivery order by tick, id";
        self.words(words).await
    }

    /// Where everybody stands: how far the log and each shard are, who lives, and what each session
    /// is at.
    pub(crate) async fn standing(&self) -> Vec<String> {
        let words = "
            select concat_ws(' ', 'log', max(n), max(max_id), clock_timestamp() - max(at))
            from outbox.tick
            union all select concat_ws(' ', 'events', count(*)) from outbox.event
            union all
            select concat_ws(' ', 'handled', consumer, count(*)) from shop.handled group by consumer
            union all
            select concat_ws(' ', 'shard', consumer, generation, lane, shard, 'at', tick, id,
                'by', owner, 'until', claim_until - clock_timestamp())
            from (select distinct on (consumer, generation, lane, shard) * from outbox.position
                order by consumer, generation, lane, shard, n desc) as newest
            union all
            select concat_ws(' ', 'member', member, consumer, clock_timestamp() - heartbeat)
            from outbox.member
            union all
            select concat_ws(' ', 'session', pid, application_name, state, wait_event,
                clock_timestamp() - state_change, pg_blocking_pids(pid)::text, left(query, 90))
            from shop.session";
        self.words(words).await
    }

    async fn words(&self, query: &'static str) -> Vec<String> {
        sqlx::query_scalar(query)
            .fetch_all(&self.pool)
            .await
            .unwrap()
    }
}

/// Somebody on duty.
pub(crate) fn by() -> By {
    By {
        actor: "ann".to_owned(),
        reason: "the cause is gone".to_owned(),
    }
}

/// What was noted of operations: verb, actor, how much.
pub(crate) async fn operations(scene: &Scene) -> Vec<(String, String, i64)> {
    sqlx::query_as("select verb, actor, changed from outbox.operation order by operation")
        .fetch_all(&scene.pool)
        .await
        .unwrap()
}

/// One of them, by Ann.
pub(crate) fn noted(verb: &str, changed: i64) -> (String, String, i64) {
    (verb.to_owned(), "ann".to_owned(), changed)
}

/// A consumer of orders that retries at once, and gives up after so many attempts.
pub(crate) fn impatient(name: &'static str, attempts: i32) -> ConsumerSpec {
    let (first, cap) = (Duration::from_millis(1), Duration::from_millis(20));
    let backoff = Backoff {
        first,
        cap,
        attempts,
    };
    ConsumerSpec {
        backoff,
        ..ConsumerSpec::new(name, &["order.placed"])
    }
}

/// An order was placed.
pub(crate) fn placed() -> NewEvent {
    NewEvent::new("order.placed", 1, serde_json::json!({ "item": "book" }))
}

/// Waits until `holds` does; fails when it takes too long.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waited = testkit::until(what, patience(PATIENCE), async || {
        holds().await.then_some(())
    });
    waited.await.unwrap();
}

/// Some keys.
pub(crate) fn keys(number: usize) -> Vec<Uuid> {
    std::iter::repeat_with(outbox::ids::new)
        .take(number)
        .collect()
}

/// Keys that one shard of eight reads.
pub(crate) fn keys_of_one_shard(number: usize) -> Vec<Uuid> {
    let all = std::iter::repeat_with(outbox::ids::new);
    all.filter(|key| outbox::part_of(*key) % 8 == 3)
        .take(number)
        .collect()
}

pub(crate) async fn run(conn: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(conn)
        .await
        .unwrap();
}

pub(crate) async fn pool(url: &str, name: &str, connections: u32) -> PgPool {
    let options: PgConnectOptions = url.parse().unwrap();
    PgPoolOptions::new()
        .max_connections(connections)
        .connect_with(options.application_name(name))
        .await
        .unwrap()
}
