//! The reference: one row per transaction, as cheaply as Postgres takes it durably.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use futures::future::try_join_all;
use outbox::copy::{Rows, Target};
use rust_decimal::Decimal;
use sqlx::PgPool;

use crate::figures::per_s;
use crate::log::{Log, WRITERS, event};

/// The log's columns; no index, no check, no partition.
const TABLE: &str = "create schema reference;
    create table reference.event (like outbox.event including defaults);
    create table reference.orders (order_id uuid primary key, item text not null);";

pub(crate) async fn prepare(log: &Log) -> Result<()> {
    sqlx::raw_sql(TABLE).execute(&log.pool).await?;
    Ok(())
}

/// Commits of one event each.
pub(crate) async fn commits(pool: &PgPool, time: Duration) -> Result<Counted> {
    count_for(time, async || {
        let mut tx = pool.begin().await?;
        insert(&mut tx).await?;
        tx.commit().await?;
        Ok(())
    })
    .await
}

/// Commits of an order and its event.
pub(crate) async fn business(pool: &PgPool, time: Duration) -> Result<Counted> {
    count_for(time, async || {
        let mut tx = pool.begin().await?;
        order(&mut tx).await?;
        insert(&mut tx).await?;
        tx.commit().await?;
        Ok(())
    })
    .await
}

/// The business of a business transaction.
pub(crate) async fn order(tx: &mut sqlx::PgConnection) -> Result<()> {
    sqlx::query("insert into reference.orders (order_id, item) values ($1, 'book')")
        .bind(outbox::ids::new())
        .execute(tx)
        .await?;
    Ok(())
}

async fn insert(tx: &mut sqlx::PgConnection) -> Result<()> {
    let event = event();
    sqlx::query(
        "insert into reference.event
            (event_id, topic, schema_version, key, part, lane, payload, actor)
        values ($1, $2, $3, $4, 1, 0, $5, 'reference')",
    )
    .bind(event.event_id)
    .bind(event.topic)
    .bind(event.schema_version)
    .bind(outbox::ids::new())
    .bind(event.payload)
    .execute(tx)
    .await?;
    Ok(())
}

/// So many transactions that write as little as one can: what is left of a business transaction
/// without its business.
pub(crate) async fn announce_nothing(log: &Log, commits: u64) -> Result<()> {
    for _ in 0..commits {
        sqlx::query("select pg_current_xact_id()")
            .execute(&log.pool)
            .await?;
    }
    Ok(())
}

/// Rows of a table with the same columns, copied a thousand at a time in one transaction each.
pub(crate) async fn bulk(log: &Log, time: Duration) -> Result<Counted> {
    const EVENTS: Target = Target {
        table: "reference.event",
        columns: &[
            "event_id",
            "topic",
            "schema_version",
            "key",
            "part",
            "lane",
            "payload",
            "actor",
        ],
    };
    let counted = count_for(time, async || {
        let mut rows = Rows::new(EVENTS);
        for _ in 0..BULK {
            let event = event();
            rows.row()
                .put(event.event_id)
                .put(event.topic)
                .put(event.schema_version)
                .put(outbox::ids::new())
                .put(1_i16)
                .put(1_i16)
                .put_json(&event.payload)
                .put("reference");
        }
        let mut tx = log.outbox.begin(outbox::Origin::of("reference")).await?;
        tx.copy(rows).await?;
        tx.commit().await?;
        Ok(())
    })
    .await?;
    Ok(counted.of(BULK))
}

/// How many rows or events are one transaction where many are.
pub(crate) const BULK: u32 = 1_000;

/// How often a step was done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counted {
    pub(crate) count: u64,
    pub(crate) per_s: Decimal,
}

impl Counted {
    /// Each step did so many.
    pub(crate) fn of(self, number: u32) -> Self {
        Self {
            count: self.count * u64::from(number),
            per_s: self.per_s * Decimal::from(number),
        }
    }
}

/// How often a step is done by as many as there are connections.
pub(crate) async fn count_for(
    time: Duration,
    step: impl AsyncFn() -> Result<()>,
) -> Result<Counted> {
    let (done, began) = (AtomicU64::new(0), Instant::now());
    let writer = async || -> Result<()> {
        while began.elapsed() < time {
            step().await?;
            done.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    };
    try_join_all((0..WRITERS).map(|_| writer())).await?;
    let count = done.into_inner();
    let per_s = per_s(count, began.elapsed().as_micros());
    Ok(Counted { count, per_s })
}
