//! Events that somebody waits for, beside a bulk backlog that the same worker drains.

use anyhow::Result;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use testkit::Server;

use crate::Args;
use crate::figures::{Waits, median_of, number, per_s, spread};
use crate::flow::{relay, seen_by, spawn, until_all_listen};
use crate::log::Log;
use crate::roles::Seen;
use crate::server;

/// How many interactive events are appended, and how many a second: they are through long before
/// the bulk is.
const INTERACTIVE: u64 = 400;
const PER_S: u64 = 100;

pub(crate) async fn measure(server: &Server, args: &Args) -> Result<Value> {
    let (mut waits, mut rates, mut left) = (Waits::default(), Vec::new(), args.waiting);
    for turn in 1..=args.repeats {
        eprintln!("lanes: turn {turn} of {}", args.repeats);
        let log = Log::fresh(server, &format!("lanes_{turn}")).await?;
        log.generate(args.waiting, &[1]).await?;
        sqlx::raw_sql("vacuum analyze").execute(&log.pool).await?;
        server::checkpoint(server).await?;
        let seen = beside_bulk(&log).await?;
        log.close().await;
        eprintln!("lanes: {seen:?}");
        waits.add(&seen);
        rates.push(bulk_per_s(&seen));
        left = left.min(args.waiting.saturating_sub(seen.others));
    }
    Ok(json!({
        "bulk_waiting": args.waiting,
        "interactive": INTERACTIVE,
        "interactive_per_s": PER_S,
        "interactive_ms": waits.told(),
        "bulk_per_s": number(median_of(&rates)),
        "bulk_turns": spread(rates),
        "bulk_left": left,
    }))
}

async fn beside_bulk(log: &Log) -> Result<Seen> {
    let [events, pace] = [INTERACTIVE, PER_S].map(|number| number.to_string());
    let _relay = relay(log, None)?;
    let worker = spawn(&["work", &log.url, &events, "--interactive"])?;
    until_all_listen(log, 1).await?;
    spawn(&["append", &log.url, &events, "--per-s", &pace])?
        .wait()
        .await?;
    seen_by(worker).await
}

/// While interactive events came.
fn bulk_per_s(seen: &Seen) -> Decimal {
    per_s(seen.others, seen.lived_us.into())
}
