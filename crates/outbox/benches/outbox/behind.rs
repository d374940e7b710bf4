//! The flow from end to end where others would slow down: beside a snapshot that is held open, and
//! with many events behind.

use anyhow::Result;
use rust_decimal::Decimal;
use serde_json::{Map, Value, json};
use sqlx::{Connection as _, PgConnection};

use testkit::Server;

use crate::Args;
use crate::figures::{number, ratio};
use crate::flow::{self, Flow, unpaced};
use crate::log::Log;

/// How many events one statement writes where history is made.
const AT_ONCE: u64 = 250_000;

pub(crate) async fn measure(server: &Server, args: &Args) -> Result<Map<String, Value>> {
    let flow = Flow {
        events: unpaced(args),
        consumers: 1,
        per_s: None,
    };
    let mut report = Map::new();
    let log = Log::fresh(server, "held").await?;
    let (before, beside, dead) = held(server, &log, flow).await?;
    log.close().await;
    report.insert(
        "held_snapshot".to_owned(),
        json!({ "dead_tuples": dead, "ratio": number(ratio(beside, before)),
            "per_s": number(beside), "without_per_s": number(before) }),
    );
    let log = Log::fresh(server, "behind").await?;
    let empty = flow::run(server, &log, flow).await?.per_s;
    history(&log, args.backlog).await?;
    let full = flow::run(server, &log, flow).await?.per_s;
    log.close().await;
    report.insert(
        "backlog_10m".to_owned(),
        json!({ "events": args.backlog, "ratio": number(ratio(full, empty)),
            "per_s": number(full), "without_per_s": number(empty) }),
    );
    Ok(report)
}

/// The rate before and beside a snapshot that stays open, and what a vacuum could not clear away.
async fn held(server: &Server, log: &Log, flow: Flow) -> Result<(Decimal, Decimal, i64)> {
    let before = flow::run(server, log, flow).await?.per_s;
    let mut holder = PgConnection::connect(&log.url).await?;
    let begin = "begin isolation level repeatable read; select count(*) from outbox.event";
    sqlx::raw_sql(begin).execute(&mut holder).await?;
    let beside = flow::run(server, log, flow).await?.per_s;
    let dead = log.dead_tuples().await?;
    holder.close().await?;
    Ok((before, beside, dead))
}

/// Events that every consumer has passed.
async fn history(log: &Log, events: u64) -> Result<()> {
    let mut left = events;
    while left > 0 {
        let now = left.min(AT_ONCE);
        sqlx::query(
            "insert into outbox.event
                (event_id, topic, schema_version, key, part, lane, payload, actor)
            select gen_random_uuid(), 'order.placed', 1, gen_random_uuid(), n % 64, n % 2,
                jsonb_build_object('made_at', n, 'text', repeat('x', 260)), 'history'
            from generate_series(1, $1::bigint) as n",
        )
        .bind(i64::try_from(now)?)
        .execute(&log.pool)
        .await?;
        log.publish().await?;
        left -= now;
        eprintln!("history: {left} events left");
    }
    let pass = "insert into outbox.position
            (consumer, generation, lane, shard, n, tick, id, passed)
        select consumer, generation, lane, shard, max(n) + 1, max(newest.n2), max(newest.max_id), 0
        from outbox.position,
            (select n as n2, max_id from outbox.tick order by n desc limit 1) as newest
        group by consumer, generation, lane, shard";
    sqlx::raw_sql(pass).execute(&log.pool).await?;
    sqlx::raw_sql("vacuum analyze").execute(&log.pool).await?;
    Ok(())
}
