//! From the append to the handler, by three processes.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rust_decimal::Decimal;
use serde_json::{Map, Value, json};
use tokio::process::{Child, Command};

use testkit::Server;

use crate::Args;
use crate::figures::{median_of, ms, number, per_s, spread};
use crate::log::Log;
use crate::reference;
use crate::roles::Seen;
use crate::server::{self, Spent, processor_ms_of};

/// What goes through, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flow {
    pub(crate) events: u64,
    pub(crate) consumers: usize,
    pub(crate) per_s: Option<u64>,
}

/// How a flow went.
pub(crate) struct Flowed {
    pub(crate) per_s: Decimal,
    pub(crate) seen: Seen,
    pub(crate) spent: Spent,
    pub(crate) relay_ms: u64,
}

/// How long a latency is watched at each pace.
const WATCHED_S: u64 = 10;

pub(crate) async fn measure(server: &Server, args: &Args) -> Result<Map<String, Value>> {
    let mut latency = Map::new();
    for pace in [100, 5_000] {
        let flow = Flow {
            events: pace * WATCHED_S,
            consumers: 1,
            per_s: Some(pace),
        };
        latency.insert(format!("at_{pace}"), watched(server, args, flow).await?);
    }
    warm_up(server, args).await?;
    let (mut rates, mut bytes) = (Vec::new(), Vec::new());
    for turn in 1..=args.repeats {
        eprintln!("flow: turn {turn} of {}", args.repeats);
        let flow = Flow {
            events: unpaced(args),
            consumers: 1,
            per_s: None,
        };
        let log = Log::fresh(server, &format!("flow_{turn}")).await?;
        let one = run(server, &log, flow).await?;
        log.close().await;
        rates.push(one.per_s);
        bytes.push(one);
    }
    let mut report = Map::new();
    report.insert("latency_ms".to_owned(), Value::Object(latency));
    report.insert("end_to_end_per_s".to_owned(), number(median_of(&rates)));
    report.insert("end_to_end_turns".to_owned(), spread(rates));
    report.insert(
        "wal_bytes_per_event".to_owned(),
        wal(server, args, &bytes).await?,
    );
    Ok(report)
}

/// A new cluster pays once for what every database of it uses: its first round writes whole pages
/// of what no later one changes.
async fn warm_up(server: &Server, args: &Args) -> Result<()> {
    let flow = Flow {
        events: unpaced(args),
        consumers: 1,
        per_s: None,
    };
    let log = Log::fresh(server, "flow_first").await?;
    run(server, &log, flow).await?;
    log.close().await;
    Ok(())
}

/// A tenth of what is drained: each is a durable commit of its own.
pub(crate) fn unpaced(args: &Args) -> u64 {
    (args.events / 10).max(1_000)
}

async fn watched(server: &Server, args: &Args, flow: Flow) -> Result<Value> {
    let (mut p50, mut p99, mut max) = (Vec::new(), Vec::new(), 0);
    for turn in 1..=args.repeats {
        let log = Log::fresh(
            server,
            &format!("latency_{}_{turn}", flow.per_s.unwrap_or(0)),
        )
        .await?;
        let flowed = run(server, &log, flow).await?;
        log.close().await;
        p50.push(flowed.seen.p50_us);
        p99.push(flowed.seen.p99_us);
        max = max.max(flowed.seen.max_us);
    }
    p50.sort_unstable();
    p99.sort_unstable();
    let middle = p50.len() / 2;
    Ok(json!({
        "p50": ms(p50[middle]),
        "p99": ms(p99[middle]),
        "p99_highest": ms(p99[p99.len() - 1]),
        "max": ms(max),
    }))
}

/// What an event costs from its append to its last position, beyond the commit that a transaction
/// writes anyway.
async fn wal(server: &Server, args: &Args, one: &[Flowed]) -> Result<Value> {
    let flow = Flow {
        events: unpaced(args),
        consumers: 8,
        per_s: None,
    };
    let log = Log::fresh(server, "flow_eight").await?;
    let eight = run(server, &log, flow).await?;
    reference::prepare(&log).await?;
    let mark = server::mark(server).await?;
    reference::announce_nothing(&log, flow.events).await?;
    let commit = server::since(server, &mark).await?.wal_bytes / flow.events;
    log.close().await;
    let beyond = |flowed: &Flowed| (flowed.spent.wal_bytes / flow.events).saturating_sub(commit);
    let mut ones: Vec<u64> = one.iter().map(beyond).collect();
    ones.sort_unstable();
    let last = &one[one.len() - 1];
    Ok(json!({
        "one_consumer": ones[ones.len() / 2],
        "eight_consumers": beyond(&eight),
        "bare_commit": commit,
        "server_cpu_us_per_event": last.spent.server_ms * 1_000 / flow.events,
        "relay_cpu_us_per_event": last.relay_ms * 1_000 / flow.events,
    }))
}

/// Lets events flow, and says how it went.
pub(crate) async fn run(server: &Server, log: &Log, flow: Flow) -> Result<Flowed> {
    let mut relay = spawn(&["relay", &log.url])?;
    let (events, consumers) = (flow.events.to_string(), flow.consumers.to_string());
    let worker = spawn(&["work", &log.url, &events, "--consumers", &consumers])?;
    until_all_listen(log, flow.consumers).await?;
    let mark = server::mark(server).await?;
    let mut append = vec!["append", &log.url, &events];
    let per_s = flow.per_s.map(|per_s| per_s.to_string());
    if let Some(per_s) = &per_s {
        append.extend(["--per-s", per_s]);
    }
    let status = spawn(&append)?.wait().await?;
    if !status.success() {
        bail!("the appender ended with {status}");
    }
    let printed = worker.wait_with_output().await?;
    let seen: Seen = serde_json::from_slice(&printed.stdout)
        .context("the worker printed something else than what it saw")?;
    let spent = server::since(server, &mark).await?;
    let relay_ms = relay.id().map_or(0, processor_ms_of);
    relay.kill().await?;
    let flowed = Flowed {
        per_s: per_s_of(flow, &seen),
        seen,
        spent,
        relay_ms,
    };
    eprintln!("flow: {flow:?} {}/s {:?}", flowed.per_s, flowed.seen);
    Ok(flowed)
}

fn per_s_of(flow: Flow, seen: &Seen) -> Decimal {
    per_s(flow.events, seen.took_us.into())
}

/// A process of this program.
pub(crate) fn spawn(arguments: &[&str]) -> Result<Child> {
    Command::new(std::env::current_exe()?)
        .args(arguments)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start a process of the measurement")
}

/// Until relay and consumers have said that they live: who comes late would be measured as slow.
pub(crate) async fn until_all_listen(log: &Log, consumers: usize) -> Result<()> {
    loop {
        let (names, relay) = outbox::live_consumers(&log.pool).await?;
        if relay && names.len() == consumers {
            return Ok(());
        }
        outbox::clock::pause(Duration::from_millis(20)).await;
    }
}
