//! The HTTP interface as a program.
//!
//! Exit code 0: stopped as asked. 1: it failed, and says why. 2: the arguments, the
//! database's URL or a variable cannot be used.

mod args;
mod run;

use std::process::ExitCode;

use billing_workers::gateways::GatewayError;
use billing_workers::site::{self, SiteError};
use billing_workers::traces::{self, Traces};
use clap::Parser as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use args::Args;

/// The server's notices are of no use to the people who read this log.
const LOG: &str = "info,sqlx::postgres::notice=off,outbox::trace=off";

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let traces = match traces::open(args.otlp_url.as_ref(), "billing-api") {
        Ok(traces) => traces,
        Err(error) => {
            eprintln!("error: {}", site::told(&error));
            return ExitCode::from(2);
        }
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOG));
    let log = tracing_subscriber::fmt::layer()
        .with_target(false)
        .with_writer(std::io::stderr)
        .with_filter(filter);
    tracing_subscriber::registry()
        .with(log)
        .with(traces.as_ref().map(Traces::layer))
        .init();
    let outcome = run::until_stopped(args).await;
    traces::close(traces).await;
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", site::told(error.as_ref()));
            ExitCode::from(if is_bad_input(&error) { 2 } else { 1 })
        }
    }
}

fn is_bad_input(error: &anyhow::Error) -> bool {
    error.downcast_ref().is_some_and(SiteError::is_bad_input)
        || error.downcast_ref().is_some_and(GatewayError::is_bad_input)
}
