//! What relay and workers cost that have nothing to do.

use std::time::Duration;

use anyhow::Result;
use rust_decimal::Decimal;
use serde_json::Value;

use testkit::Server;

use crate::figures::number;
use crate::flow::{spawn, until_all_listen};
use crate::log::Log;
use crate::server::{self, processor_ms_of};

/// How long they are left alone before they are watched, and how long they are watched.
const SETTLED: Duration = Duration::from_secs(5);
const WATCHED_S: u64 = 20;

/// Percent of one core, server and both processes together, eight consumers.
pub(crate) async fn measure(server: &Server) -> Result<Value> {
    eprintln!("idle: {WATCHED_S} s");
    let log = Log::fresh(server, "idle").await?;
    let relay = spawn(&["relay", &log.url])?;
    let worker = spawn(&["work", &log.url, "1", "--consumers", "8"])?;
    until_all_listen(&log, 8).await?;
    outbox::clock::pause(SETTLED).await;
    let ours = || {
        let pids = [relay.id(), worker.id()];
        pids.into_iter().flatten().map(processor_ms_of).sum::<u64>()
    };
    let (mark, before) = (server::mark(server).await?, ours());
    outbox::clock::pause(Duration::from_secs(WATCHED_S)).await;
    let spent_ms = server::since(server, &mark).await?.server_ms + ours() - before;
    log.close().await;
    let percent = Decimal::from(spent_ms * 10 / WATCHED_S) / Decimal::from(100);
    Ok(number(percent))
}
