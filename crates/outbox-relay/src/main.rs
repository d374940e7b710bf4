//! The relay and the workers in one binary, roles by flag; and what their operators ask and order.
//!
//! Exit code 0: stopped as asked. 1: it failed, and says why. 2: it was called wrongly.

mod args;
mod command;
mod consumers;
mod dead;
mod keep;
mod metrics;
mod place;
mod retrying;
mod run;
mod status;
mod tail;
mod transport;

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;

use anyhow::Result;
use billing_workers::MailError;
use billing_workers::gateways::GatewayError;
use billing_workers::site::{self, Site, SiteError};
use billing_workers::traces::{self, Traces};
use clap::Parser as _;
use outbox::RebaseError;
use outbox::operation::OperationError;
use outbox::schedule::PutError;
use outbox::transport::jetstream::ConnectError;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use args::Cli;
use command::Command;

/// Events, their JSON and their mails are many small pieces: with the system's allocator a third
/// of the workers' time went there.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The server's notices and the NATS client's greetings are of no use to the people who read this
/// log.
const LOG: &str = "info,sqlx::postgres::notice=off,async_nats=warn,outbox::trace=off";

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
    let cli = Cli::parse();
    let traces = match traces::open(cli.run.otlp_url.as_ref(), "outbox-relay") {
        Ok(traces) => traces,
        Err(error) => {
            eprintln!("error: {}", site::told(&error));
            return ExitCode::from(2);
        }
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOG));
    let log = tracing_subscriber::fmt::layer()
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .with_filter(filter);
    tracing_subscriber::registry()
        .with(log)
        .with(traces.as_ref().map(Traces::layer))
        .init();
    let outcome = run(cli).await;
    traces::close(traces).await;
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        // Who closed the pipe has seen enough.
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", site::told(error.as_ref()));
            let is_bad_input = error.downcast_ref().is_some_and(SiteError::is_bad_input)
                || error.downcast_ref().is_some_and(GatewayError::is_bad_input)
                || error.is::<MailError>()
                || error.downcast_ref().is_some_and(ConnectError::is_bad_input)
                || error.downcast_ref().is_some_and(is_wrong_order)
                || matches!(error.downcast_ref(), Some(RebaseError::Unsigned(_)))
                || matches!(
                    error.downcast_ref(),
                    Some(PutError::Cron { .. } | PutError::Never(_))
                );
            ExitCode::from(if is_bad_input { 2 } else { 1 })
        }
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let closed = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    let written = error.downcast_ref::<serde_json::Error>();
    let written = written.and_then(serde_json::Error::io_error_kind);
    error.downcast_ref().is_some_and(closed) || written == Some(io::ErrorKind::BrokenPipe)
}

/// Whether an order cannot be obeyed as it was given, as opposed to trouble on the way.
fn is_wrong_order(error: &OperationError) -> bool {
    !matches!(
        error,
        OperationError::Database(_)
            | OperationError::Busy { .. }
            | OperationError::TooFarApart { .. }
    )
}

async fn run(cli: Cli) -> Result<()> {
    let config = cli.site.config();
    let site = match &cli.command {
        None => Site::open(config).await?,
        Some(Command::Rebase { .. }) => Site::open_restored(config).await?,
        Some(_) => Site::open_existing(config).await?,
    };
    let outcome = match cli.command {
        None => run::until_stopped(&site, cli.run).await,
        Some(command) => tokio::select! {
            obeyed = obey(&site, command) => obeyed,
            silence = site.silence() => Err(silence.into()),
        },
    };
    let closed = site.close().await;
    outcome?;
    Ok(closed?)
}

async fn obey(site: &Site, command: Command) -> Result<()> {
    let pool = site.pool();
    match command {
        Command::Status { json } => status::show(pool, json).await,
        Command::Consumers { json } => consumers::show(pool, json).await,
        Command::Pause(pause) => consumers::pause(pool, pause).await,
        Command::Resume { name, by } => consumers::resume(pool, &name, by).await,
        Command::Replay(replay) => consumers::replay(pool, replay).await,
        Command::Reshard(reshard) => consumers::reshard(pool, reshard).await,
        Command::Retrying { consumer, limit } => retrying::list(pool, consumer, limit).await,
        Command::Dead(command) => dead::run(pool, command).await,
        Command::Forget { stream, by } => keep::forget(pool, &stream, by.into()).await,
        Command::Rebase { by } => keep::rebase(pool, by.into()).await,
        Command::Retention { keep, export, .. } => keep::retire(pool, keep, export).await,
        Command::Tail(tail) => tail::follow(pool, tail).await,
    }
}
