//! From the append to the handler, by three processes.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};
use tokio::process::{Child, Command};

use testkit::Server;

use crate::Args;
use crate::figures::{Turn, Waits, median_of, number, of_each, per_s, rate, rates, spread, told};
use crate::log::Log;
use crate::reference;
use crate::roles::Seen;
use crate::server::{self, processor_ms_of};

/// What goes through, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flow<'a> {
    pub(crate) events: u64,
    pub(crate) consumers: usize,
    /// As fast as possible when absent.
    pub(crate) per_s: Option<u64>,
    /// The NATS server that carries the events; Postgres when absent.
    pub(crate) nats: Option<&'a str>,
}

/// How a flow went.
pub(crate) struct Flowed {
    pub(crate) turn: Turn,
    pub(crate) seen: Seen,
    relay_ms: u64,
}

/// Rates at which latency is watched.
const PACES: [u64; 2] = [100, 5_000];
/// How many events go first and are not counted: a checkpoint came just before, and what is in use
/// is written to the write-ahead log as whole pages once after it.
const WARM_UP: u64 = 2_000;

impl Flow<'_> {
    /// To one consumer. A tenth of what is drained: each is a durable commit of its own.
    pub(crate) fn unpaced(args: &Args) -> Self {
        Self {
            events: (args.events / 10).max(1_000),
            consumers: 1,
            per_s: None,
            nats: None,
        }
    }

    /// To one consumer, at a rate that leaves time.
    pub(crate) fn paced(args: &Args, per_s: u64) -> Self {
        Self {
            events: per_s * args.watched,
            per_s: Some(per_s),
            ..Self::unpaced(args)
        }
    }
}

/// Turn by turn.
#[derive(Default)]
struct Turns {
    waits: [Waits; PACES.len()],
    #[cfg(feature = "nats")]
    waits_of_nats: [Waits; PACES.len()],
    one: Vec<Flowed>,
    eight: Vec<Flowed>,
}

pub(crate) async fn measure(server: &Server, args: &Args) -> Result<Map<String, Value>> {
    let mut turns = Turns::default();
    for turn in 1..=args.repeats {
        eprintln!("flow: turn {turn} of {}", args.repeats);
        turns.watch(server, args, turn).await?;
        #[cfg(feature = "nats")]
        turns.watch_nats(server, args, turn).await?;
        let one = Flow::unpaced(args);
        let eight = Flow {
            consumers: 8,
            ..one
        };
        for (flow, flowed) in [(one, &mut turns.one), (eight, &mut turns.eight)] {
            let log = Log::fresh(server, &format!("flow_{}_{turn}", flow.consumers)).await?;
            flowed.push(run(server, &log, flow).await?);
            log.close().await;
        }
    }
    turns.report(bare_commit(server).await?)
}

impl Turns {
    async fn watch(&mut self, server: &Server, args: &Args, turn: u32) -> Result<()> {
        for (pace, waits) in PACES.into_iter().zip(&mut self.waits) {
            let log = Log::fresh(server, &format!("latency_{pace}_{turn}")).await?;
            let flowed = run(server, &log, Flow::paced(args, pace)).await?;
            waits.add(&flowed.seen);
            log.close().await;
        }
        Ok(())
    }

    #[cfg(feature = "nats")]
    async fn watch_nats(&mut self, server: &Server, args: &Args, turn: u32) -> Result<()> {
        for (pace, waits) in PACES.into_iter().zip(&mut self.waits_of_nats) {
            let log = Log::fresh(server, &format!("latency_nats_{pace}_{turn}")).await?;
            let nats = crate::nats::Nats::start()?;
            let flow = Flow {
                nats: Some(&nats.url()),
                ..Flow::paced(args, pace)
            };
            waits.add(&run(server, &log, flow).await?.seen);
            log.close().await;
        }
        Ok(())
    }

    fn report(self, bare_commit: u64) -> Result<Map<String, Value>> {
        let mut latency = json!({});
        for (pace, waits) in PACES.into_iter().zip(self.waits) {
            latency[format!("at_{pace}")] = waits.told();
        }
        #[cfg(feature = "nats")]
        for (pace, waits) in PACES.into_iter().zip(self.waits_of_nats) {
            latency[format!("nats_at_{pace}")] = waits.told();
        }
        let [one, eight] = [&self.one, &self.eight]
            .map(|flowed| flowed.iter().map(|flowed| flowed.turn).collect::<Vec<_>>());
        let report = json!({
            "latency_ms": latency,
            "end_to_end_per_s": rate(&one),
            "end_to_end_turns": spread(rates(&one)),
            "end_to_end": { "one_consumer": told(&one), "eight_consumers": told(&eight) },
            "wal_bytes_per_event": wal(&self.one, &self.eight, bare_commit),
        });
        let Value::Object(report) = report else {
            bail!("an object is an object");
        };
        Ok(report)
    }
}

/// What a transaction writes that announces nothing.
async fn bare_commit(server: &Server) -> Result<u64> {
    const COMMITS: u64 = 5_000;
    let log = Log::fresh(server, "bare_commit").await?;
    server::checkpoint(server).await?;
    reference::announce_nothing(&log, WARM_UP).await?;
    let mark = server::mark(server).await?;
    reference::announce_nothing(&log, COMMITS).await?;
    let bytes = server::since(server, &mark).await?.wal_bytes / COMMITS;
    log.close().await;
    Ok(bytes)
}

/// What an event costs from its append to its last position, beyond the commit that a transaction
/// writes anyway.
fn wal(one: &[Flowed], eight: &[Flowed], bare_commit: u64) -> Value {
    let beyond = |flowed: &Flowed| {
        let all = flowed.turn.spent.wal_bytes;
        let commits = bare_commit * flowed.turn.events;
        flowed.turn.each(all.saturating_sub(commits))
    };
    let [ones, eights] = [one, eight].map(|turns| turns.iter().map(beyond).collect::<Vec<_>>());
    let each_us = |of: fn(&Flowed) -> u64| {
        let each = |flowed| of_each(of(flowed) * 1_000, flowed.turn.events);
        number(median_of(&one.iter().map(each).collect::<Vec<_>>()))
    };
    json!({
        "one_consumer": number(median_of(&ones).round()),
        "eight_consumers": number(median_of(&eights).round()),
        "one_consumer_turns": spread(ones),
        "eight_consumers_turns": spread(eights),
        "bare_commit": bare_commit,
        "server_cpu_us_per_event": each_us(|flowed| flowed.turn.spent.server_ms),
        "relay_cpu_us_per_event": each_us(|flowed| flowed.relay_ms),
    })
}

/// Lets events flow, and says how it went.
pub(crate) async fn run(server: &Server, log: &Log, flow: Flow<'_>) -> Result<Flowed> {
    let mut relay = relay(log, flow.nats)?;
    server::checkpoint(server).await?;
    let warm_up = Flow {
        events: WARM_UP,
        per_s: None,
        ..flow
    };
    pass(log, warm_up, work(log, warm_up).await?).await?;
    let worker = work(log, flow).await?;
    let relay_pid = relay.id().context("the relay has ended")?;
    let (mark, relay_before) = (server::mark(server).await?, processor_ms_of(relay_pid));
    let seen = pass(log, flow, worker).await?;
    let relay_ms = processor_ms_of(relay_pid) - relay_before;
    relay.kill().await?;
    let mut spent = server::since(server, &mark).await?;
    // As an ended child the relay counts with what it did before the mark.
    spent.client_ms = spent.client_ms.saturating_sub(relay_before);
    let turn = Turn {
        events: flow.events,
        per_s: per_s(flow.events, seen.took_us.into()),
        spent,
    };
    eprintln!("flow: {flow:?} {}/s {seen:?}", turn.per_s);
    Ok(Flowed {
        turn,
        seen,
        relay_ms,
    })
}

pub(crate) fn relay(log: &Log, nats: Option<&str>) -> Result<Child> {
    let mut arguments = vec!["relay", &log.url];
    if let Some(nats) = nats {
        arguments.extend(["--nats", nats]);
    }
    spawn(&arguments)
}

/// A worker that listens.
async fn work(log: &Log, flow: Flow<'_>) -> Result<Child> {
    let (events, consumers) = (flow.events.to_string(), flow.consumers.to_string());
    let mut arguments = vec!["work", &log.url, &events, "--consumers", &consumers];
    if let Some(nats) = flow.nats {
        arguments.extend(["--nats", nats]);
    }
    let worker = spawn(&arguments)?;
    until_all_listen(log, flow.consumers).await?;
    Ok(worker)
}

/// Appends, and waits until the worker has seen everything.
async fn pass(log: &Log, flow: Flow<'_>, worker: Child) -> Result<Seen> {
    let events = flow.events.to_string();
    let mut append = vec!["append", &log.url, &events];
    let per_s = flow.per_s.map(|per_s| per_s.to_string());
    if let Some(per_s) = &per_s {
        append.extend(["--per-s", per_s]);
    }
    let status = spawn(&append)?.wait().await?;
    if !status.success() {
        bail!("the appender ended with {status}");
    }
    seen_by(worker).await
}

/// What a worker prints when it has seen everything.
pub(crate) async fn seen_by(worker: Child) -> Result<Seen> {
    let printed = worker.wait_with_output().await?;
    serde_json::from_slice(&printed.stdout)
        .context("the worker printed something else than what it saw")
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

/// Whom to wake is read once a second.
const KNOWN: Duration = Duration::from_secs(1);

/// Until relay and consumers have said that they live, and the relay knows whom to wake: who comes
/// late would be measured as slow.
pub(crate) async fn until_all_listen(log: &Log, consumers: usize) -> Result<()> {
    loop {
        let (names, relay) = outbox::live_consumers(&log.pool).await?;
        if relay && names.len() == consumers {
            outbox::clock::pause(KNOWN).await;
            return Ok(());
        }
        outbox::clock::pause(Duration::from_millis(20)).await;
    }
}
