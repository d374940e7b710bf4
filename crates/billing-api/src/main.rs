//! The HTTP interface as a program.
//!
//! Exit code 0: stopped as asked. 1: it failed, and says why. 2: it was called wrongly.

mod args;
mod run;

use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

use args::Args;

/// The server's notices are of no use to the people who read this log.
const LOG: &str = "info,sqlx::postgres::notice=off";

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOG));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_writer(std::io::stderr)
        .init();
    match run::until_stopped(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
