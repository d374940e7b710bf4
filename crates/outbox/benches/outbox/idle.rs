//! What relay and workers cost that have nothing to do.

use std::time::Duration;

use anyhow::Result;
use rust_decimal::Decimal;
use serde_json::{Map, Value};

use testkit::Server;

use crate::Args;
use crate::figures::{median_of, number, of_each, spread};
use crate::flow::{relay, spawn, until_all_listen};
use crate::log::Log;
use crate::server::{self, processor_ms_of};

/// How long they are left alone before they are watched.
const SETTLED: Duration = Duration::from_secs(5);

/// Percent of one core, server and both processes together, eight consumers.
pub(crate) async fn measure(server: &Server, args: &Args) -> Result<Map<String, Value>> {
    let log = Log::fresh(server, "idle").await?;
    let relay = relay(&log, None)?;
    let worker = spawn(&["work", &log.url, "1", "--consumers", "8"])?;
    until_all_listen(&log, 8).await?;
    outbox::clock::pause(SETTLED).await;
    let ours = || {
        let pids = [relay.id(), worker.id()];
        pids.into_iter().flatten().map(processor_ms_of).sum::<u64>()
    };
    // Processor time is counted in hundredths of a second: a short look would see little of it.
    let watched_s = args.watched * 2;
    let mut percents: Vec<Decimal> = Vec::new();
    server::checkpoint(server).await?;
    for turn in 1..=args.repeats {
        eprintln!("idle: turn {turn} of {}, {watched_s} s", args.repeats);
        let (mark, before) = (server::mark(server).await?, ours());
        outbox::clock::pause(Duration::from_secs(watched_s)).await;
        let spent_ms = server::since(server, &mark).await?.server_ms + ours() - before;
        percents.push(of_each(spent_ms * 10, watched_s) / Decimal::ONE_HUNDRED);
    }
    log.close().await;
    let mut report = Map::new();
    report.insert("idle_cpu_percent".to_owned(), number(median_of(&percents)));
    report.insert("idle_cpu_percent_turns".to_owned(), spread(percents));
    Ok(report)
}
