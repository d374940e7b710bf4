//! A database with a log in it, and events to fill it with.

use std::time::Duration;

use anyhow::Result;
use futures::StreamExt as _;
use futures::TryStreamExt as _;
use outbox::{Cut, NewEvent, Origin, Outbox, Relay};
use serde_json::json;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, PgPool};
use testkit::Server;
use uuid::Uuid;

/// The topic of everything that is measured.
pub(crate) const TOPIC: &str = "order.placed";
/// How many connections append, as in an API of some size.
pub(crate) const WRITERS: u32 = 16;
/// How many events of a load are one transaction, and one tick.
const AT_ONCE: u64 = 1_000;
/// How many events one statement makes, and one tick holds, where the server makes them.
const GENERATED_AT_ONCE: u64 = 250_000;
/// How long a payload is as text.
const PAYLOAD_BYTES: usize = 300;

/// A log in a database of its own.
pub(crate) struct Log {
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) pool: PgPool,
    pub(crate) outbox: Outbox,
}

impl Log {
    /// A new database with an empty log.
    pub(crate) async fn fresh(server: &Server, name: &str) -> Result<Self> {
        let maintenance = PgPool::connect(&server.url_of("billing")).await?;
        let create = format!("create database {name}");
        sqlx::raw_sql(AssertSqlSafe(create))
            .execute(&maintenance)
            .await?;
        maintenance.close().await;
        let url = server.url_of(name);
        let pool = connect(&url).await?;
        outbox::migrate(&pool).await?;
        let outbox = Outbox::new(pool.clone());
        let name = name.to_owned();
        Ok(Self {
            name,
            url,
            pool,
            outbox,
        })
    }

    /// Appends and publishes so many events, as a large run does.
    pub(crate) async fn load(&self, events: u64) -> Result<()> {
        let chunks = futures::stream::iter(0..events.div_ceil(AT_ONCE)).map(Ok);
        chunks
            .try_for_each_concurrent(2, async |_| {
                self.append(AT_ONCE).await?;
                self.publish().await
            })
            .await?;
        Ok(())
    }

    /// In one transaction, in the lane of a large run.
    pub(crate) async fn append(&self, events: u64) -> Result<()> {
        let mut tx = self.outbox.begin(Origin::of("load").bulk()).await?;
        for _ in 0..events {
            let locked = tx.locked(outbox::ids::new());
            tx.append(locked, event());
        }
        tx.commit().await?;
        Ok(())
    }

    /// Makes so many events in the server, and publishes them: a million in a few seconds.
    pub(crate) async fn generate(&self, events: u64, lanes: &[i16]) -> Result<()> {
        self.generate_for(None, events, lanes).await
    }

    /// The same, as members of a batch.
    pub(crate) async fn generate_for(
        &self,
        batch: Option<Uuid>,
        events: u64,
        lanes: &[i16],
    ) -> Result<()> {
        let mut left = events;
        while left > 0 {
            let now = left.min(GENERATED_AT_ONCE);
            sqlx::query(
                "insert into outbox.event
                    (event_id, topic, schema_version, key, part, lane, payload, actor, batch_id)
                select gen_random_uuid(), 'order.placed', 1, gen_random_uuid(), n % 64,
                    ($2::smallint[])[1 + n % cardinality($2::smallint[])],
                    jsonb_build_object('made_at', n, 'text', repeat('x', 260)), 'history', $3
                from generate_series(1, $1::bigint) as n",
            )
            .bind(i64::try_from(now)?)
            .bind(lanes)
            .bind(batch)
            .execute(&self.pool)
            .await?;
            self.publish().await?;
            left -= now;
            eprintln!("{left} events left to make");
        }
        Ok(())
    }

    /// Cuts ticks until nothing is left.
    pub(crate) async fn publish(&self) -> Result<()> {
        let relay = Relay::new(self.outbox.clone());
        while relay.cut().await? != Cut::Nothing {}
        Ok(())
    }

    /// Rows that a vacuum would have to clear away, of the tables that every event passes.
    pub(crate) async fn dead_tuples(&self) -> Result<i64> {
        let counted = "select coalesce(sum(n_dead_tup), 0)::bigint from pg_stat_user_tables
            where schemaname = 'outbox' and relname similar to '(event|tick|position)%'";
        Ok(sqlx::query_scalar(counted).fetch_one(&self.pool).await?)
    }

    pub(crate) async fn close(self) {
        self.pool.close().await;
    }
}

/// A pool as a program of some size has it.
pub(crate) async fn connect(url: &str) -> Result<PgPool> {
    connect_as(url, "bench").await
}

/// The same, under a name by which its sessions are found.
pub(crate) async fn connect_as(url: &str, name: &str) -> Result<PgPool> {
    let options = url.parse::<PgConnectOptions>()?.application_name(name);
    let pool = PgPoolOptions::new()
        .max_connections(WRITERS)
        .acquire_timeout(Duration::from_secs(30))
        .connect_with(options.options([("jit", "off")]))
        .await?;
    Ok(pool)
}

/// An event of 300 bytes that tells when it was made, in microseconds.
pub(crate) fn event() -> NewEvent {
    let made_at = outbox::clock::now().timestamp_micros();
    let head = json!({ "made_at": made_at, "text": "" }).to_string();
    let text = "x".repeat(PAYLOAD_BYTES.saturating_sub(head.len()));
    NewEvent::new(TOPIC, 1, json!({ "made_at": made_at, "text": text }))
}
