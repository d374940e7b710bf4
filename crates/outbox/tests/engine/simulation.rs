//! A hundred schedules: writers, relays and workers that are stopped, frozen, killed and
//! disconnected in an order drawn from a seed, while handlers fail now and then, calls are slow,
//! batches are filled and sealed, and keys are divided otherwise. Whatever the order, each event is
//! handled once by each consumer, the events of a key in the order of their commits, and a batch
//! ends once.
//!
//! `OUTBOX_SEED=17` runs that schedule alone, in each of the tests that share the hundred. A
//! schedule that fails names the invariant that it broke: `broken: <invariant> (seed 17, …)`, which
//! is what `cargo xtask mutants --hunt` reads.

mod fleet;
mod handlers;
mod invariants;
mod writers;

use self::fleet::Fleet;

/// Schedules of one test.
const EACH: u64 = 25;
/// Events that are handled between two faults, as long as events are written.
const BETWEEN: usize = 120;

async fn run(seed: u64) {
    let mut fleet = Fleet::begin(seed).await;
    let mut faults = Vec::new();
    for n in 1..=fleet.number_of_faults() {
        let told = format!("seed {seed}, {faults:?}");
        fleet.until_next_fault(n * BETWEEN, &told).await;
        faults.extend(fleet.thaw_perhaps().await);
        faults.push(fleet.fault().await);
        faults.extend(fleet.reshard_perhaps().await);
        fleet.next_batch().await;
    }
    let told = format!("seed {seed}, {faults:?}");
    let written = fleet.finish_writing(&told).await;
    let told = format!("{told}, {} events", written.logged);
    fleet.until_all_handled(written, &told).await;
    fleet.until_batches_end(&told).await;
    let scene = fleet.stop_who_was_frozen().await;
    invariants::check(&scene, written, &told).await;
}

async fn run_all(first: u64) {
    let chosen = std::env::var("OUTBOX_SEED").ok();
    let seeds = match chosen.and_then(|seed| seed.parse().ok()) {
        Some(seed) => seed..seed + 1,
        None => first..first + EACH,
    };
    for seed in seeds {
        println!("seed {seed}");
        run(seed).await;
    }
}

#[tokio::test]
async fn schedules_of_the_first_quarter() {
    run_all(1).await;
}

#[tokio::test]
async fn schedules_of_the_second_quarter() {
    run_all(1 + EACH).await;
}

#[tokio::test]
async fn schedules_of_the_third_quarter() {
    run_all(1 + 2 * EACH).await;
}

#[tokio::test]
async fn schedules_of_the_fourth_quarter() {
    run_all(1 + 3 * EACH).await;
}
