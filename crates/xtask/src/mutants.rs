//! `cargo xtask mutants`: the engine is made wrong in each way that it knows, and each time the
//! test of the promise that this breaks must fail.

use anyhow::{Context as _, Result, bail};
use local_postgres::LocalPostgres;

use crate::throwaway::CLUSTER;
use crate::workspace::{Workspace, succeed};

/// The mutants of `outbox`, each with the test that must notice it.
const MUTANTS: &[(&str, &str)] = &[
    (
        "LateOnesForgotten",
        "ticks::every_committed_event_is_read_once_in_commit_order_per_key",
    ),
    (
        "ResultsRolledBack",
        "external::an_answer_is_recorded_though_the_shard_was_lost",
    ),
    (
        "OneRound",
        "external::two_events_of_a_key_in_one_batch_neither_overlap_nor_swap",
    ),
    (
        "StragglerUnmarked",
        "slow::a_slow_call_whose_worker_died_is_made_again_after_its_deadline",
    ),
    (
        "KeysNotBlocked",
        "parked::order_holds_while_a_parked_key_drains_and_grows",
    ),
    (
        "MemberAfterSeal",
        "batches::a_sealed_batch_takes_no_member_from_outside_nor_any_of_the_other_lane",
    ),
    (
        "OldSnapshot",
        "batches::trouble::a_batch_whose_last_facts_come_at_once_ends",
    ),
    (
        "BatchUnlocked",
        "batches::trouble::a_batch_whose_last_facts_come_at_once_ends",
    ),
    (
        "GenerationLeftOpen",
        "operations::nobody_goes_on_in_a_generation_that_is_over",
    ),
    (
        "ShardsInPlace",
        "reshard::a_worker_frozen_before_it_settles_loses_its_old_shard",
    ),
    (
        "ForeignIdsTrusted",
        "restored::after_a_rebase_each_event_of_the_dump_is_handled_once",
    ),
];

/// Runs each mutant against its test, and all the tests without a mutant first.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let cluster = LocalPostgres::start(&workspace.target()?.join(CLUSTER))
        .context("could not start the Postgres of the tests")?;
    let caught = catch_all(workspace);
    cluster
        .stop()
        .context("could not stop the Postgres of the tests")?;
    caught
}

fn catch_all(workspace: &Workspace) -> Result<()> {
    let all: Vec<String> = MUTANTS.iter().map(|(_, test)| only(test)).collect();
    succeed(&mut tests(workspace, &all.join(" | "))).context("without a mutant they must pass")?;
    let mut missed = Vec::new();
    for (mutant, test) in MUTANTS {
        let mut tests = tests(workspace, &only(test));
        let output = tests
            .env("OUTBOX_MUTANT", mutant)
            .output()
            .with_context(|| format!("could not run {tests:?}"))?;
        // 100: a test failed. Anything else is no answer.
        match output.status.code() {
            Some(100) => println!("{mutant}: caught by {test}"),
            Some(0) => missed.push(*mutant),
            _ => bail!("{mutant}: {}", String::from_utf8_lossy(&output.stderr)),
        }
    }
    if missed.is_empty() {
        return Ok(());
    }
    bail!(
        "not caught by the tests of what they break: {}",
        missed.join(", ")
    )
}

fn only(test: &str) -> String {
    format!("test(={test})")
}

fn tests(workspace: &Workspace, filter: &str) -> std::process::Command {
    let mut tests = workspace.cargo();
    tests.args(["nextest", "run", "--package", "outbox"]).args([
        "--features",
        "mutants",
        "--no-tests",
        "fail",
        "--filterset",
        filter,
    ]);
    tests
}
