//! The examples run as they are: without a variable, each with a cluster of its own, to the end.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

/// Cargo builds the examples with the tests.
fn path_of(example: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().and_then(Path::parent).unwrap();
    let path = folder.join("examples").join(example);
    assert!(
        path.exists(),
        "{} is missing: build it with `cargo build -p outbox --examples`",
        path.display()
    );
    path
}

/// What an example says.
async fn said_by(example: &str) -> String {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut run = Command::new(path_of(example));
    // A variable of whoever runs the tests would send it to their database.
    run.env_clear();
    for name in ["PATH", "HOME", "USER"] {
        run.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    let ran = run
        .env("TMPDIR", folder.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let complaint = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{example}: {complaint}");
    String::from_utf8(ran.stdout).unwrap()
}

#[tokio::test]
async fn the_example_of_orders_packs_each_order_once() {
    let said = said_by("orders").await;

    assert!(said.contains("1000 parcels packed, each once"), "{said}");
}

#[tokio::test]
async fn the_example_of_a_web_server_answers_and_packs() {
    let said = said_by("web").await;

    assert_eq!(said.matches("201 Created").count(), 2, "{said}");
    assert!(said.contains("all are packed"), "{said}");
}

#[tokio::test]
async fn the_example_of_a_batch_ends_well_once_and_badly_once() {
    let said = said_by("batch").await;

    assert_eq!(said.matches("stock.counted").count(), 1, "{said}");
    assert_eq!(said.matches("stock.incomplete").count(), 1, "{said}");
}

#[tokio::test]
async fn the_example_of_a_schedule_tells_each_slot_once() {
    let said = said_by("recurring").await;

    let mut slots: Vec<&str> = said.lines().filter(|line| !line.is_empty()).collect();
    let slot_of = |line: &&str| line.split(" was told").next().map(str::to_owned);
    let told = slots.len();
    slots.dedup_by_key(|line| slot_of(line));
    assert!(told >= 3 && slots.len() == told, "{said}");
}

#[tokio::test]
async fn the_example_of_a_test_needs_no_hours() {
    let said = said_by("testing").await;

    assert!(said.contains("delivered once, at the third try"), "{said}");
}
