//! Holds the private cluster of a data directory: `local-postgres <data dir>`.
//!
//! Prints the connection URL and stays until its input ends (Ctrl-D), for a look with `psql` or to
//! keep the server up between runs of other programs.

use std::error::Error;
use std::io::{self, Write};
use std::path::Path;

use local_postgres::LocalPostgres;

fn main() -> Result<(), Box<dyn Error>> {
    let data_dir = std::env::args_os()
        .nth(1)
        .ok_or("usage: local-postgres <data directory>")?;
    let postgres = match LocalPostgres::start(Path::new(&data_dir)) {
        Ok(postgres) => postgres,
        Err(err) => {
            eprintln!("{err}");
            std::process::exit(1);
        }
    };
    println!("{}", postgres.url());
    io::stdout().flush()?;
    io::copy(&mut io::stdin(), &mut io::sink())?;
    postgres.stop()?;
    Ok(())
}
