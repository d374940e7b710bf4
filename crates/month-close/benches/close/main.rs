//! How fast a month is closed, and how that compares with the least that writing it costs.
//!
//! Makes a private cluster with the settings that users have, fills it with the cloud sample and
//! closes a month with the program itself: first without workers (the stage *generate*), then with
//! them (*settle*), with the simulated gateway and mail that is counted. In between it copies the
//! rows that the close has written into tables with the same columns and indexes and nothing else,
//! over one connection: the reference. A checkpoint precedes *generate* and the reference alike, so
//! that both pay for the first change of each page.
//!
//! The last line of stdout is one JSON object; `figures.rs` says what its keys mean.

use std::process::ExitCode;

use anyhow::Result;
use chrono::{Months, NaiveDate};
use clap::Parser;
use testkit::Server;

mod figures;
mod probe;
mod program;
mod reference;
mod server;

use crate::figures::Figures;
use crate::probe::Probe;
use crate::program::Program;

/// Measures the close of a month.
#[derive(Debug, Parser)]
pub(crate) struct Args {
    /// Accounts of the cloud sample
    #[arg(long, default_value_t = 100_000)]
    accounts: u64,
    /// The sample's seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Accounts per transaction of the close
    #[arg(long)]
    chunk: Option<u16>,
    /// Transactions of the close at once
    #[arg(long)]
    parallel: Option<u16>,
    /// How many months are closed, one after the other, on the same database
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4))]
    months: u32,
    /// Only the stage generate and its reference
    #[arg(long)]
    no_settle: bool,
    /// Cargo says this
    #[arg(long, hide = true)]
    bench: bool,
}

/// By which the months after the first are reported.
const LATER: [&str; 3] = ["second", "third", "fourth"];
/// Settings without which the figures would say little.
const SETTINGS: [&str; 6] = [
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "data_checksums",
    "shared_buffers",
    "max_wal_size",
];

/// The first month of the sample.
const FIRST_MONTH: NaiveDate = NaiveDate::from_ymd_opt(2026, 1, 1).expect("it exists");

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let server = Server::start(env!("CARGO_TARGET_TMPDIR"))?;
    let first = month(&server, &args, FIRST_MONTH).await?;
    let mut is_clean = first.is_clean();
    let mut report = first.json();
    report["cores"] = std::thread::available_parallelism()?.get().into();
    report["postgres"] = server.setting("server_version").await?.into();
    for name in SETTINGS {
        report["settings"][name] = server.setting(name).await?.into();
    }
    for (name, nth) in LATER.iter().zip(1..args.months) {
        let later = month(&server, &args, FIRST_MONTH + Months::new(nth)).await?;
        is_clean &= later.is_clean();
        report[name] = later.json();
    }
    println!("{report}");
    Ok(if is_clean {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Closes one month.
async fn month(server: &Server, args: &Args, month: NaiveDate) -> Result<Figures> {
    let month = month.format("%Y-%m").to_string();
    let mut connection = server.connect().await?;
    let program = Program::new(server.data_dir(), &month);
    let sample = [
        "--sample=cloud".to_owned(),
        format!("--accounts={}", args.accounts),
        format!("--seed={}", args.seed),
        "--import-only".to_owned(),
    ];
    let sampled = program.run(&sample, async |_| Ok(())).await?;

    let close = close_arguments(args);
    let mark = server::mark(&mut connection).await?;
    let mut wal_bytes = 0;
    let generate = [close.as_slice(), &["--no-workers".to_owned()]].concat();
    let generated = program
        .run(&generate, async |line: &str| {
            // The last line of the stage; what follows reads.
            if line.starts_with("generate") && line.contains(" accounts: ") {
                wal_bytes = server::wal_since(&mut connection, &mark).await?;
            }
            Ok(())
        })
        .await?;
    let reference = reference::run(&mut connection, &mark, server.data_dir()).await?;
    let settled = match args.no_settle {
        true => None,
        false => {
            let settle = [close.as_slice(), &["--count-mail".to_owned()]].concat();
            let probe = Probe::new(&server.url()).await?;
            let heard = async |line: &str| {
                if line.starts_with("settle") {
                    // The workers are there until all is handled.
                    probe.go_on(!line.contains("every event"));
                }
                Ok(())
            };
            let mut settled = program.run(&settle, heard).await?;
            settled["interactive_ms"] = probe.end().await?;
            // Beside the probe the log was never at rest, which some checks ask for.
            let mut again = program.run(&settle, async |_| Ok(())).await?;
            settled["checks"] = again["checks"].take();
            settled["seconds"]["checks"] = again["seconds"]["checks"].take();
            Some(settled)
        }
    };
    Ok(Figures {
        accounts: args.accounts,
        month,
        sampled,
        generated,
        settled,
        wal_bytes,
        reference,
    })
}

fn close_arguments(args: &Args) -> Vec<String> {
    let chunk = args.chunk.map(|chunk| format!("--chunk={chunk}"));
    let parallel = args
        .parallel
        .map(|parallel| format!("--parallel={parallel}"));
    chunk.into_iter().chain(parallel).collect()
}
