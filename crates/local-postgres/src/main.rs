//! Holds the private cluster of a data directory: `local-postgres <data dir>`.
//!
//! Prints the connection URL and stays until its input ends (Ctrl-D), for a look with `psql` or to
//! keep the server up between runs of other programs.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use local_postgres::LocalPostgres;
use tracing::error;

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .init();
    let Some(data_dir) = std::env::args_os().nth(1) else {
        error!("usage: local-postgres <data directory>");
        return ExitCode::FAILURE;
    };
    let postgres = match LocalPostgres::start(Path::new(&data_dir)) {
        Ok(postgres) => postgres,
        Err(err) => {
            error!("{err}");
            return ExitCode::FAILURE;
        }
    };
    match show_and_wait(&postgres.url()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            error!("cannot talk to the terminal: {err}");
            ExitCode::FAILURE
        }
    }
}

fn show_and_wait(url: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{url}")?;
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}
