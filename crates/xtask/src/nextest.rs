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

    let tests = succeed(
        workspace
            .cargo()
            .args(["nextest", "run", "--workspace"])
            .args(arguments),
    );
    let tests = tests.and_then(|()| examples(workspace, arguments));

    cluster
        .stop()
        .context("could not stop the Postgres of the tests")?;
    tests
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
