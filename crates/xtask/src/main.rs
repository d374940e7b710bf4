//! The house-keeping of the workspace: `cargo xtask <command>`.
//!
//! `sqlx` and `schema` write what is derived from the migrations and committed, `tidy` checks the
//! house rules, `test` runs the tests beside one private Postgres. With `--check` nothing is
//! written and a difference is an error, which is what the continuous integration wants.

mod metadata;
mod mutants;
mod nextest;
mod scan;
mod schema;
mod throwaway;
mod tidy;
mod workspace;
mod wrapper;

use std::env;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use mutants::Bounds;
use workspace::Workspace;

const USAGE: &str = "\
The house-keeping of the workspace.

usage: cargo xtask <command>

  sqlx [--check]        write the query metadata (`.sqlx`), or compare it
  schema [--check]      write the dump of the migrated schema (`schema.sql`), or compare it
  mutants               make the engine wrong in each known way; a test must notice
  mutants --hunt [N [S]]
                        count the schedules, of N (25), in which the simulation finds each mutant;
                        after S seconds with one no further schedule begins
  tidy                  check the house rules
  test [ARGUMENTS...]   run the tests; the arguments go to `cargo nextest run`";

fn main() -> ExitCode {
    if let Some(out) = env::var_os(wrapper::OUT) {
        return wrapper::run(out.as_ref());
    }
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("xtask: {err:#}");
            ExitCode::FAILURE
        }
    }
}

fn hunted_within(bounds: &[&str]) -> Result<Bounds> {
    let mut within = Bounds::default();
    if let Some(schedules) = bounds.first() {
        within.schedules = schedules.parse().context("N is a number of schedules")?;
    }
    if let Some(seconds) = bounds.get(1) {
        within.seconds = Some(seconds.parse().context("S is a number of seconds")?);
    }
    Ok(within)
}

fn run(arguments: &[&str]) -> Result<()> {
    let workspace = Workspace::here()?;
    match arguments {
        ["sqlx"] => metadata::write(&workspace),
        ["sqlx", "--check"] => metadata::check(&workspace),
        ["schema"] => schema::write(&workspace),
        ["schema", "--check"] => schema::check(&workspace),
        ["mutants"] => mutants::run(&workspace),
        ["mutants", "--hunt", bounds @ ..] if bounds.len() <= 2 => {
            mutants::hunt(&workspace, hunted_within(bounds)?)
        }
        ["tidy"] => tidy::run(&workspace),
        ["test", rest @ ..] => nextest::run(&workspace, rest),
        [] | ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            Ok(())
        }
        [command, ..] => bail!("`{command}` with these arguments is unknown\n\n{USAGE}"),
    }
}
