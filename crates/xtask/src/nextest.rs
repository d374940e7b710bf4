//! `cargo xtask test`: all tests beside one private Postgres.
//!
//! Each test process joins the cluster of the workspace and leaves it when it ends; held here, the
//! cluster is started once instead of once per test.

use anyhow::{Context as _, Result, bail};
use local_postgres::LocalPostgres;

use crate::throwaway::CLUSTER;
use crate::workspace::{Workspace, output, succeed};

/// Runs the tests, and the examples in the documentation unless a selection was asked for.
pub(crate) fn run(workspace: &Workspace, arguments: &[&str]) -> Result<()> {
    if output(workspace.cargo().args(["nextest", "--version"])).is_err() {
        bail!("cargo-nextest is missing: run `cargo install cargo-nextest --locked`");
    }
    let cluster = LocalPostgres::start(&workspace.target()?.join(CLUSTER))
        .context("could not start the Postgres of the tests")?;

    // The examples come first, so that the tests' summary is what one reads last.
    let examples = examples(workspace, arguments);
    let tests = tests(workspace, arguments);

    cluster
        .stop()
        .context("could not stop the Postgres of the tests")?;
    examples.and(tests)
}

fn tests(workspace: &Workspace, arguments: &[&str]) -> Result<()> {
    let mut tests = workspace.cargo();
    tests.args(["nextest", "run"]).args(arguments);
    // Cargo alone would test its default members.
    if !arguments
        .iter()
        .any(|argument| matches!(*argument, "-p" | "--package"))
    {
        tests.arg("--workspace");
    }
    succeed(&mut tests)
}

fn examples(workspace: &Workspace, arguments: &[&str]) -> Result<()> {
    if !arguments.is_empty() {
        println!("The examples in the documentation run with the whole: `cargo xtask test`.");
        return Ok(());
    }
    succeed(
        workspace
            .cargo()
            .args(["test", "--doc", "--workspace", "--quiet"]),
    )
}
