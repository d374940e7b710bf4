//! Holds the private cluster of a data directory: `local-postgres <data dir>`.
//!
//! Prints the connection URL and stays until its input ends (Ctrl-D), for a look with `psql` or to
//! keep the server up between runs of other programs.

use std::error::Error;
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
    match hold(Path::new(&data_dir)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            error!(error = &*err, "The database cannot be held");
            ExitCode::FAILURE
        }
    }
}

fn hold(data_dir: &Path) -> Result<(), Box<dyn Error>> {
    let postgres = LocalPostgres::start(data_dir)?;
    writeln!(io::stdout(), "{}", postgres.url())?;
    io::copy(&mut io::stdin(), &mut io::sink())?;
    postgres.stop()?;
    Ok(())
}
