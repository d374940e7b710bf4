//! Promise: killed at any moment, run again: one invoice per account and period, numbers without a
//! gap, the same totals, whole documents.
//!
//! The moments are drawn from how far the work has come, not from a clock: so they fall into every
//! stage, however fast the machine is.

use std::fs;
use std::time::Duration;

use local_postgres::LocalPostgres;
use serde_json::json;
use sqlx::{Connection as _, PgConnection};
use testkit::until;

use crate::scene::{CONSUMERS, Charge, PATIENCE, Random, Reckoning, Running, Scene, THE_END};

const ACCOUNTS: u64 = 1_200;
const ROWS: u64 = 3 * ACCOUNTS;

/// How far each stage has come, and how far it goes.
const IMPORT: (&str, u64) = ("select count(*) from billing.usage_event", ROWS);
const GENERATE: (&str, u64) = ("select count(*) from billing.invoice", ACCOUNTS);
const SETTLE: (&str, u64) = (
    "select count(*) from billing.document where state = 'written'",
    ACCOUNTS,
);

fn usage(scene: &Scene) -> String {
    let charge = |n: u64| {
        let price = [("vm", "0.125"), ("disk", "0.0007"), ("net", "0.045")][n as usize % 3];
        Charge::new(
            (n, "2024-09"),
            format!("acct-{:04}", n / 3),
            price,
            n % 97 + 1,
        )
    };
    scene.usage("usage.csv", &(0..ROWS).map(charge).collect::<Vec<_>>())
}

/// Kills `kills` runs in a row, each one when the stage has come further than the last, and says
/// how far it had come at the end of each.
async fn killed(
    scene: &Scene,
    run: impl Fn() -> Running,
    (progress, whole): (&str, u64),
    kills: u64,
    random: &mut Random,
) -> Vec<i64> {
    let mut left_at = Vec::new();
    for kill in 0..kills {
        // Up to nine tenths, so that the stage is not over when the blow falls.
        let share = whole * 9 / 10 / kills;
        let moment = random
            .within(kill * share..(kill + 1) * share)
            .cast_signed();
        let mut running = run();
        let reached = until(progress, PATIENCE, async || {
            let there = scene.count(progress).await >= moment;
            (there || !running.is_running()).then_some(there)
        });
        assert!(
            reached.await.unwrap(),
            "it ended before {moment} of: {progress}"
        );
        running
            .works_for(Duration::from_millis(random.within(0..40)))
            .await;
        assert!(
            running.kill().await,
            "it had ended {moment} of {whole}: {progress}"
        );
        forget_the_dead(scene).await;
        expect_no_gap(scene).await;
        left_at.push(scene.count(progress).await);
    }
    left_at
}

/// What some time does by itself: a killed worker is dead after six seconds without a sign of life,
/// and what it had claimed is free when the claim runs out. Without this each kill would cost forty
/// seconds; the test below waits for them once.
async fn forget_the_dead(scene: &Scene) {
    scene
        .sql(
            "update outbox.member set heartbeat = heartbeat - interval '1 minute';
            update outbox.position set claim_until = clock_timestamp()
            where claim_until is not null;
            update outbox.delivery set deadline = clock_timestamp() where deadline is not null",
        )
        .await;
}

/// At any moment the numbers that were given away have no gap, and no period has two.
async fn expect_no_gap(scene: &Scene) {
    let wrong = "select coalesce(max(number), 0) - count(*)
        + count(*) - count(distinct (account_id, period_seq)) from billing.invoice";
    assert_eq!(scene.count(wrong).await, 0);
}

/// Everything as if nothing had happened.
async fn expect_undisturbed(scene: &Scene, usage: &str) {
    let closed = scene.close(&format!("--usage {usage}")).await;

    let reckoned = Reckoning::of(usage);
    let every = json!({ "final": ACCOUNTS, "paid": 0, "zero": 0, "open": ACCOUNTS });
    assert_eq!(closed["invoices"], every);
    assert_eq!(closed["lines"], reckoned.lines());
    assert_eq!(
        closed["invoiced"],
        json!({ "USD": reckoned.total().to_string() })
    );
    assert_eq!(
        (&closed["events"]["dead"], &closed["checks"]["violated"]),
        (&json!(0), &json!(0))
    );
    expect_no_gap(scene).await;
    assert_eq!(
        scene.handled().await,
        CONSUMERS * ACCOUNTS.cast_signed() + THE_END
    );
    assert_eq!(scene.count("select count(*) from outbox.delivery").await, 0);
    expect_whole_documents(scene).await;
}

/// Every file is as long as its writer said, and nothing else lies about.
async fn expect_whole_documents(scene: &Scene) {
    let folder = scene.data_dir().join("documents");
    let written = scene
        .texts("select path || ' ' || bytes from billing.document")
        .await;
    for document in &written {
        let (path, bytes) = document.split_once(' ').unwrap();
        let length = fs::metadata(folder.join(path)).unwrap().len();
        assert_eq!(length.to_string(), bytes, "{path}");
    }
    assert_eq!((written.len(), scene.documents().len()), (1_200, 1_200));
}

/// The control of the kills: some struck in the middle of the stage.
fn expect_struck(left_at: &[i64], (progress, whole): (&str, u64)) {
    let middle = 1..whole.cast_signed();
    assert!(
        left_at.iter().any(|at| middle.contains(at)),
        "{left_at:?}: {progress}"
    );
}

/// With the next, twenty moments; in two tests, which run side by side.
#[tokio::test]
async fn a_close_killed_while_it_imports_and_generates_ends_as_if_undisturbed() {
    let scene = Scene::open().await;
    let usage = usage(&scene);
    let random = &mut Random::seeded();
    let close = format!("--usage {usage} --chunk 50");
    let run = || scene.month_close(&close).start();

    for (stage, kills) in [(IMPORT, 6), (GENERATE, 8)] {
        let left_at = killed(&scene, run, stage, kills, random).await;
        expect_struck(&left_at, stage);
    }

    expect_undisturbed(&scene, &usage).await;
}

#[tokio::test]
async fn a_close_killed_while_it_settles_ends_as_if_undisturbed() {
    let scene = Scene::open().await;
    let usage = usage(&scene);
    let random = &mut Random::seeded();
    scene.close(&format!("--usage {usage} --no-workers")).await;

    let left_at = killed(&scene, || scene.month_close("").start(), SETTLE, 6, random).await;

    expect_struck(&left_at, SETTLE);
    expect_undisturbed(&scene, &usage).await;
}

#[tokio::test]
async fn relays_killed_while_they_drain_leave_nothing_undone_and_nothing_done_twice() {
    let scene = Scene::open().await;
    let usage = usage(&scene);
    let random = &mut Random::seeded();
    scene.close(&format!("--usage {usage} --no-workers")).await;

    let left_at = killed(&scene, || scene.relay("").start(), SETTLE, 6, random).await;

    expect_struck(&left_at, SETTLE);
    expect_undisturbed(&scene, &usage).await;
}

#[tokio::test]
async fn the_private_server_outlives_a_killed_close_and_the_next_run_ends_what_it_began() {
    let scene = Scene::bare();
    let mut first = scene.month_close("").start();
    let begun = until("a document", PATIENCE, async || {
        (!scene.documents().is_empty() || !first.is_running()).then_some(())
    });
    begun.await.unwrap();
    assert!(first.kill().await, "it had ended");
    assert!(scene.private_server_runs(), "it went with its client");

    let second = scene.close("").await;

    assert_eq!(second["invoices"]["final"], 66);
    assert_eq!(second["invoiced"], json!({ "USD": "10.07" }));
    assert_eq!(second["checks"]["violated"], 0);
    assert_eq!(scene.documents().len(), 66);
    assert!(!scene.private_server_runs(), "the last one out stops it");
}

/// Nobody else would start it: it has no service manager.
#[tokio::test]
async fn a_private_server_killed_while_a_close_settles_is_brought_up_again_and_the_close_goes_on() {
    let scene = Scene::bare();
    let usage = usage(&scene);
    let mut close = scene.month_close(&format!("--usage {usage}")).start();
    let begun = until("a document", PATIENCE, async || {
        (!scene.documents().is_empty() || !close.is_running()).then_some(())
    });
    begun.await.unwrap();

    scene.kill_private_server();

    close
        .ended()
        .await
        .exits(0)
        .says(&["was killed; starting it again"]);
    expect_closed(&scene, &usage).await;
    assert!(!scene.private_server_runs(), "the last one out stops it");
}

/// A chunk that was cut off is not tried again by itself.
#[tokio::test]
async fn a_private_server_killed_under_a_chunk_ends_the_close_and_loses_nothing() {
    let scene = Scene::bare();
    let usage = usage(&scene);
    let close = scene
        .month_close(&format!("--usage {usage} --chunk 20"))
        .start();
    close.has_said("import ").await;
    let server = LocalPostgres::start(&scene.data_dir()).unwrap();
    let mut rival = PgConnection::connect(&server.url()).await.unwrap();
    let hold = "begin; lock table billing.usage_event";
    sqlx::raw_sql(hold).execute(&mut rival).await.unwrap();
    let waiting = "select count(*) from pg_locks where not granted";
    until("a chunk waits", PATIENCE, async || {
        let waiting = sqlx::query_scalar::<_, i64>(waiting);
        (waiting.fetch_one(&mut rival).await.unwrap() > 0).then_some(())
    })
    .await
    .unwrap();

    scene.kill_private_server();

    close
        .ended()
        .await
        .exits(1)
        .says(&["error: ", "run again to go on"]);
    server.stop().unwrap();
    expect_closed(&scene, &usage).await;
}

async fn expect_closed(scene: &Scene, usage: &str) {
    let again = scene.close(&format!("--usage {usage}")).await;
    let reckoned = Reckoning::of(usage);
    assert_eq!(again["invoices"]["final"], ACCOUNTS);
    assert_eq!(
        again["invoiced"],
        json!({ "USD": reckoned.total().to_string() })
    );
    assert_eq!(again["checks"]["violated"], 0);
    assert_eq!(scene.documents().len(), 1_200);
}

#[tokio::test]
async fn a_close_that_is_asked_to_stop_says_so_and_the_next_run_goes_on() {
    let scene = Scene::open().await;
    let usage = usage(&scene);
    let close = scene
        .month_close(&format!("--usage {usage} --chunk 50"))
        .start();
    scene.until_at_least(1, GENERATE.0).await;

    close
        .stop()
        .await
        .exits(128 + 15)
        .says(&["run again to go on where it stopped"]);

    expect_undisturbed(&scene, &usage).await;
}
