//! What the engine costs, and how that compares with the least that Postgres asks for.
//!
//! One private cluster with the settings that users have, a database of its own for each part. What
//! is compared is measured in turns, and the median of the turns is told with the lowest and the
//! highest. The reference is one row inserted per transaction, through the same driver and as many
//! connections, into a table with the log's columns and nothing else. Latencies and rates from end
//! to end are those of three processes: one appends, one relays, one works.
//!
//! The last line of stdout is one JSON object. Rates are per second, times in milliseconds,
//! processor time in seconds of one core, unless a key says otherwise.

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};
use serde_json::{Map, Value, json};
use testkit::Server;

mod append;
mod behind;
mod drain;
mod figures;
mod flow;
mod idle;
mod log;
#[cfg(feature = "nats")]
mod nats;
mod reference;
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
    /// How many events are drained, and how many go from end to end
    #[arg(long, default_value_t = 500_000)]
    pub(crate) events: u64,
    /// How many events lie behind, where that is asked
    #[arg(long, default_value_t = 10_000_000)]
    pub(crate) backlog: u64,
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
    /// A log drained by handlers that do nothing
    Drain,
    /// From the append to the handler, paced and not
    Flow,
    /// The same beside a snapshot that is held open, and with many events behind
    Behind,
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
    if args.has(Part::Append) {
        report.extend(append::measure(&server, &args).await?);
    }
    if args.has(Part::Drain) {
        report.insert("drain".to_owned(), drain::measure(&server, &args).await?);
    }
    if args.has(Part::Flow) {
        report.extend(flow::measure(&server, &args).await?);
    }
    if args.has(Part::Behind) {
        report.extend(behind::measure(&server, &args).await?);
    }
    if args.has(Part::Idle) {
        report.insert("idle_cpu_percent".to_owned(), idle::measure(&server).await?);
    }
    report.insert("machine".to_owned(), machine(&server).await?);
    println!("{}", Value::Object(report));
    Ok(())
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
