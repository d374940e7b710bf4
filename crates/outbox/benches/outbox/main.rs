//! What the engine costs, and how that compares with the least that Postgres asks for.
//!
//! One private cluster with the settings that users have, a database of its own for each part. What
//! is compared is measured in turns, side by side, and the median of the turns is told with the
//! lowest and the highest. The reference is one row inserted per transaction, through the same
//! driver and as many connections, into a table with the log's columns and nothing else. Latencies
//! and rates from end to end are those of three processes: one appends, one relays, one works.
//!
//! Bytes of write-ahead log are counted after a warm-up that follows a checkpoint: the pages that
//! are in use were written as a whole once by then. Where another checkpoint began in a turn all
//! the same, `checkpoints` says so, and the bytes of that turn are too many.
//!
//! The last line of stdout is one JSON object. Rates are per second, times in milliseconds,
//! processor time in seconds of one core, unless a key says otherwise.
//!
//! - `reference`: `commits_per_s` of one row, `business_commits_per_s` of an order and a row,
//!   `bulk_rows_per_s` copied by the thousand.
//! - `append`: the same by the engine; `ratio`, `business_ratio`, `bulk_ratio` to the reference
//!   beside it.
//! - `relay.cut`: how fast ticks of one event and of a thousand are cut when nobody else works.
//! - `relay.beside_writers`: ticks, events and processor time of relay and its sessions while
//!   others commit.
//! - `drain`: `…_per_s`: handlers that do nothing empty a log, transactional and external, by one
//!   and by eight consumers (events times consumers); `nats_per_s` from a stream,
//!   `nats_published_per_s` into it, `nats_server_cpu_s` the broker for both.
//! - `latency_ms`: from before the append's commit to the handler, `at_` so many events a second;
//!   `nats_at_…` over a stream.
//! - `end_to_end_per_s`: 16 connections append one event per transaction, and one consumer has
//!   handled all; `end_to_end` with its cost, also for eight.
//! - `wal_bytes_per_event`: an event's whole life with `one_consumer` and `eight_consumers`, less
//!   the `bare_commit` that a transaction writes anyway; processor time of server and relay.
//! - `held_snapshot`: the flow beside a snapshot that is held: `dead_tuples` of log, ticks and
//!   positions, `ratio` to the flow without it, both latencies at 100 events a second.
//! - `backlog_10m`: the same with so many `events` in the past.
//! - `lanes`: `interactive_ms`: paced events while one worker drains `bulk_waiting` others at
//!   `bulk_per_s`; they mean something if `bulk_left` is not 0.
//! - `batch`: a batch of so many `members` with a second wave: `rows` of bookkeeping, and members
//!   times consumers handled per second.
//! - `idle_cpu_percent`: of one core: server, relay and a worker of eight consumers without events.
//! - `machine`: cores, and settings without which the figures would say little.
//!
//! Parts of these: `…_turns` is a median with `lowest` and `highest`; objects with `per_s` tell
//! also `wal_bytes_per_event`, `cpu_us_per_event` (server and client), `server_cpu_s` and
//! `client_cpu_s` of a turn.

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};
use serde_json::{Map, Value, json};
use testkit::Server;

mod append;
mod batch;
mod behind;
mod drain;
mod figures;
mod flow;
mod idle;
mod lanes;
mod log;
#[cfg(feature = "nats")]
mod nats;
mod reference;
mod relay;
mod roles;
mod server;

/// Measures the outbox.
#[derive(Debug, Parser)]
pub(crate) struct Args {
    /// Only these parts [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    parts: Vec<Part>,
    /// How often what is compared is measured, in turns
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) repeats: u32,
    /// How long commits are counted each time, in seconds
    #[arg(long, default_value_t = 4)]
    pub(crate) seconds: u64,
    /// How long a latency is watched each time, in seconds, and half of how long idleness is
    #[arg(long, default_value_t = 10)]
    pub(crate) watched: u64,
    /// How many events are drained, and how many go from end to end
    #[arg(long, default_value_t = 500_000)]
    pub(crate) events: u64,
    /// How many events lie behind, where that is asked
    #[arg(long, default_value_t = 10_000_000)]
    pub(crate) backlog: u64,
    /// How many bulk events wait while interactive ones come
    #[arg(long, default_value_t = 3_000_000)]
    pub(crate) waiting: u64,
    /// How many members a batch has
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) members: u64,
    /// Cargo says this
    #[arg(long, hide = true)]
    bench: bool,
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// One event per transaction beside the reference, and many
    Append,
    /// Ticks: how fast they are cut, and what that costs
    Relay,
    /// A log drained by handlers that do nothing
    Drain,
    /// From the append to the handler, paced and not
    Flow,
    /// The same beside a snapshot that is held open, and with many events behind
    Behind,
    /// Interactive events beside a bulk backlog
    Lanes,
    /// A batch of very many members
    Batch,
    /// Relay and workers with nothing to do
    Idle,
}

/// What a process of the measurement does.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Role {
    /// Appends one event per transaction
    #[command(hide = true)]
    Append(roles::Append),
    /// Relays until it is killed
    #[command(hide = true)]
    Relay {
        /// The database
        url: String,
        /// The NATS server that carries the events
        #[arg(long)]
        nats: Option<String>,
    },
    /// Works until so many events were handled
    #[command(hide = true)]
    Work(roles::Work),
}

impl Args {
    fn has(&self, part: Part) -> bool {
        self.parts.is_empty() || self.parts.contains(&part)
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    if let Some(role) = args.role {
        return roles::play(role).await;
    }
    let server = Server::start(env!("CARGO_TARGET_TMPDIR"))?;
    let mut report = Map::new();
    for part in Part::value_variants() {
        if args.has(*part) {
            report.extend(part.measure(&server, &args).await?);
        }
    }
    report.insert("machine".to_owned(), machine(&server).await?);
    println!("{}", Value::Object(report));
    Ok(())
}

impl Part {
    async fn measure(self, server: &Server, args: &Args) -> Result<Map<String, Value>> {
        let under = |key: &str, value| Map::from_iter([(key.to_owned(), value)]);
        match self {
            Self::Append => append::measure(server, args).await,
            Self::Relay => Ok(under("relay", relay::measure(server, args).await?)),
            Self::Drain => Ok(under("drain", drain::measure(server, args).await?)),
            Self::Flow => flow::measure(server, args).await,
            Self::Behind => behind::measure(server, args).await,
            Self::Lanes => Ok(under("lanes", lanes::measure(server, args).await?)),
            Self::Batch => Ok(under("batch", batch::measure(server, args).await?)),
            Self::Idle => idle::measure(server, args).await,
        }
    }
}

/// Settings without which the figures would say little.
const SETTINGS: [&str; 6] = [
    "server_version",
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "data_checksums",
    "shared_buffers",
];

async fn machine(server: &Server) -> Result<Value> {
    let mut told = json!({ "cores": std::thread::available_parallelism()?.get() });
    for name in SETTINGS {
        told[name] = server.setting(name).await?.into();
    }
    Ok(told)
}
