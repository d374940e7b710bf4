//! A database of its own for a test, with the engine's schema and a small shop in it.

use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use local_postgres::LocalPostgres;
use outbox::{Cut, NewEvent, Origin, Outbox, Relay};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use uuid::Uuid;

const SHOP: &str = include_str!("shop.sql");
const ENGINE: &str = include_str!("../../migrations/0001_outbox.sql");
/// Whoever makes the template holds this lock.
const LOCK: i64 = 0x656e_6769_6e65;
const PATIENCE: Duration = Duration::from_secs(25);

/// A database, dropped when this value is.
pub(crate) struct Scene {
    server: LocalPostgres,
    name: String,
    pub(crate) pool: PgPool,
    pub(crate) outbox: Outbox,
}

impl Scene {
    pub(crate) async fn new() -> Self {
        let server = LocalPostgres::start(&folder()).unwrap();
        let mut admin = PgConnection::connect(&server.url()).await.unwrap();
        let template = template(&server, &mut admin).await;
        let name = format!("engine_{}", outbox::ids::new().simple());
        run(
            &mut admin,
            &format!("create database {name} template {template}"),
        )
        .await;
        admin.close().await.unwrap();
        let pool = pool(&server.url_of(&name), "scene", 20).await;
        let outbox = Outbox::new(pool.clone());
        Self {
            server,
            name,
            pool,
            outbox,
        }
    }

    /// Another process' view of the same database: a pool of its own, named `who`.
    pub(crate) async fn as_seen_by(&self, who: &str, connections: u32) -> Outbox {
        Outbox::new(pool(&self.server.url_of(&self.name), who, connections).await)
    }

    /// A connection of its own, to hold a transaction open by hand.
    pub(crate) async fn connection(&self) -> PgConnection {
        PgConnection::connect(&self.server.url_of(&self.name))
            .await
            .unwrap()
    }

    /// A connection to another database of the same server.
    pub(crate) async fn elsewhere(&self) -> PgConnection {
        PgConnection::connect(&self.server.url()).await.unwrap()
    }

    /// A pool with these connection options on top.
    pub(crate) async fn pool_with(
        &self,
        change: impl FnOnce(PgConnectOptions) -> PgConnectOptions,
    ) -> PgPool {
        let options: PgConnectOptions = self.server.url_of(&self.name).parse().unwrap();
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

    pub(crate) async fn until_handled(&self, consumer: &str, number: usize) {
        let what = format!("{consumer} handled {number} events");
        until(&what, async || {
            self.handled_by(consumer).await.len() >= number
        })
        .await;
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let drop = format!("drop database if exists {} with (force)", self.name);
        let url = self.server.url();
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(async {
                let mut admin = PgConnection::connect(&url).await.unwrap();
                run(&mut admin, &drop).await;
            });
        });
        if dropped.join().is_err() {
            eprintln!("the database {} is left behind", self.name);
        }
    }
}

/// An order was placed.
pub(crate) fn placed() -> NewEvent {
    NewEvent::new("order.placed", 1, serde_json::json!({ "item": "book" }))
}

/// Waits until `holds` does; fails when it takes too long.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < PATIENCE, "waited in vain until {what}");
        outbox::clock::pause(Duration::from_millis(5)).await;
    }
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

async fn pool(url: &str, name: &str, connections: u32) -> PgPool {
    let options: PgConnectOptions = url.parse().unwrap();
    PgPoolOptions::new()
        .max_connections(connections)
        .connect_with(options.application_name(name))
        .await
        .unwrap()
}

/// The private cluster of the tests, which `cargo xtask test` holds up while they run.
fn folder() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    target
        .unwrap_or_else(|| workspace.join("target"))
        .join("test-postgres")
}

/// A database with both schemas, named after their text and made once.
async fn template(server: &LocalPostgres, admin: &mut PgConnection) -> String {
    let mut hasher = DefaultHasher::new();
    (ENGINE, SHOP).hash(&mut hasher);
    let name = format!("engine_template_{:016x}", hasher.finish());
    let exists = "select exists (select from pg_database where datname = $1)";
    sqlx::query("select pg_advisory_lock($1)")
        .bind(LOCK)
        .execute(&mut *admin)
        .await
        .unwrap();
    let known: bool = sqlx::query_scalar(exists)
        .bind(&name)
        .fetch_one(&mut *admin)
        .await
        .unwrap();
    if !known {
        run(
            admin,
            "drop database if exists engine_template_new with (force)",
        )
        .await;
        run(admin, "create database engine_template_new").await;
        let new = PgPool::connect(&server.url_of("engine_template_new"))
            .await
            .unwrap();
        outbox::migrate(&new).await.unwrap();
        sqlx::raw_sql(SHOP).execute(&new).await.unwrap();
        new.close().await;
        run(
            admin,
            &format!("alter database engine_template_new rename to {name}"),
        )
        .await;
    }
    sqlx::query("select pg_advisory_unlock($1)")
        .bind(LOCK)
        .execute(&mut *admin)
        .await
        .unwrap();
    name
}
