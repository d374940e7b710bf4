//! Closes a month: imports usage, writes final invoices, lets every consumer handle their events,
//! checks the books and says where finance stands.

mod args;
mod checks;
mod close;
mod import;
mod memory;
mod progress;
mod report;
mod sample;
mod settle;
mod summary;

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::Result;
use billing_workers::MailError;
use billing_workers::gateways::GatewayError;
use billing_workers::site::{self, Site, SiteConfig, SiteError};
use clap::Parser;
use tokio::signal::ctrl_c;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use args::{Cli, Command};

/// Events, their JSON and their mails are many small pieces: with the system's allocator a third
/// of the workers' time went there.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What a run came to, as an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Closed, and every check holds.
    Clean,
    /// A check is violated, or a dead letter exists.
    Violated,
    /// Closed, with accounts listed as exceptions.
    Exceptions,
}

/// The caller's mistake, as opposed to trouble on the way.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BadInput(pub(crate) String);

fn main() -> ExitCode {
    match billing_workers::runtime() {
        Ok(runtime) => runtime.block_on(start()),
        Err(error) => {
            eprintln!("error: no threads to run on: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn start() -> ExitCode {
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,sqlx=error"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let cli = Cli::parse();
    tokio::select! {
        done = run(cli) => match done {
            Ok(Verdict::Clean) => ExitCode::SUCCESS,
            Ok(Verdict::Violated) => ExitCode::from(1),
            Ok(Verdict::Exceptions) => ExitCode::from(3),
            Err(error) => {
                eprintln!("error: {}", site::told(error.as_ref()));
                ExitCode::from(if is_bad_input(&error) { 2 } else { 1 })
            }
        },
        signal = stop_signal() => {
            eprintln!("interrupted; run again to go on where it stopped");
            ExitCode::from(128 + signal)
        }
    }
}

fn is_bad_input(error: &anyhow::Error) -> bool {
    error.is::<BadInput>()
        || error.downcast_ref().is_some_and(SiteError::is_bad_input)
        || error.downcast_ref().is_some_and(GatewayError::is_bad_input)
        || error.is::<MailError>()
}

/// The number of the signal that asks us to stop: 2 from the keyboard, 15 from a supervisor.
async fn stop_signal() -> u8 {
    let Ok(mut terminated) = signal(SignalKind::terminate()) else {
        return ctrl_c().await.map_or(2, |()| 2);
    };
    tokio::select! {
        _ = ctrl_c() => 2,
        _ = terminated.recv() => 15,
    }
}

async fn run(cli: Cli) -> Result<Verdict> {
    let config = SiteConfig {
        database_url: cli.site.database_url.clone(),
        data_dir: cli.site.data_dir.clone(),
    };
    let site = Site::open(config).await?;
    let ran = async {
        match &cli.command {
            None => close::run(&site, &cli).await,
            Some(Command::Check) => checks::run(&site, cli.site.json).await,
            Some(Command::Report { period }) => report::run(&site, *period, cli.site.json).await,
        }
    };
    tokio::select! {
        ran = ran => ran,
        silence = site.silence() => Err(silence.into()),
    }
}
