//! `cargo xtask mutants`: the engine is made wrong in each way that it knows, and each time the
//! test of the promise that this breaks must fail, and say so in the words of that promise.
//!
//! The tests are built once and their program is run as it is, since each start of cargo costs more
//! than most of the tests.

mod engine;
mod hunt;
mod known;

use anyhow::{Context as _, Result, bail};
use local_postgres::LocalPostgres;

use self::engine::{Engine, Ran};
pub(crate) use self::hunt::Bounds;
use self::known::{KNOWN, Known};
use crate::throwaway::CLUSTER;
use crate::workspace::Workspace;

/// Runs each mutant against its test, and all these tests without a mutant first.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    with_postgres(workspace, |engine| {
        must_pass(engine)?;
        let missed: Vec<&str> = (KNOWN.iter())
            .filter(|mutant| !is_caught(engine, mutant))
            .map(|mutant| mutant.name)
            .collect();
        if missed.is_empty() {
            return Ok(());
        }
        let missed = missed.join(", ");
        bail!("not caught by the tests of what they break: {missed}")
    })
}

/// Lets the simulation look for the mutants, within these bounds.
pub(crate) fn hunt(workspace: &Workspace, bounds: Bounds) -> Result<()> {
    let report = workspace.target()?.join("mutants-hunt.json");
    with_postgres(workspace, |engine| hunt::run(engine, bounds, &report))
}

fn with_postgres(workspace: &Workspace, run: impl FnOnce(&Engine) -> Result<()>) -> Result<()> {
    let engine = Engine::build(workspace)?;
    let cluster = LocalPostgres::start(&workspace.target()?.join(CLUSTER))
        .context("could not start the Postgres of the tests")?;
    let ran = run(&engine);
    cluster
        .stop()
        .context("could not stop the Postgres of the tests")?;
    ran
}

fn must_pass(engine: &Engine) -> Result<()> {
    let mut tests: Vec<&str> = KNOWN.iter().map(|mutant| mutant.test).collect();
    tests.sort_unstable();
    tests.dedup();
    match engine.run(&tests, &[])? {
        Ran::Passed => Ok(()),
        Ran::Failed(output) => bail!("without a mutant they must pass:\n{output}"),
    }
}

/// That something failed is not enough: it is the test of the promise, with the promise's words.
fn is_caught(engine: &Engine, mutant: &Known) -> bool {
    let (name, test, says) = (mutant.name, mutant.test, mutant.says);
    let output = match engine.run(&[test], &[("OUTBOX_MUTANT", name)]) {
        Ok(Ran::Passed) => {
            println!("{name}: NOT CAUGHT by {test}");
            return false;
        }
        Ok(Ran::Failed(output)) => output,
        Err(error) => format!("{error:#}"),
    };
    let is_the_test = output.contains(&format!("test {test} ... FAILED"));
    if is_the_test && output.contains(says) {
        println!("{name}: caught by {test}: \u{201c}{says}\u{201d}");
        return true;
    }
    println!("{name}: {test} did not fail with \u{201c}{says}\u{201d} but:\n{output}");
    false
}
