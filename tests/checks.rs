//! Promise: the checks find what must not exist, name it, and exit accordingly; and run by
//! themselves, by a schedule.

use testkit::until;

use crate::operators::free_address;
use crate::scene::{Charge, PATIENCE, Scene, http};

/// What somebody with the superuser's rights could do by hand.
async fn planted(scene: &Scene, statement: &str) {
    let guards = "alter table billing.invoice disable trigger user;
        alter table billing.line disable trigger user;";
    scene.sql(&format!("{guards} {statement}")).await;
}

async fn closed() -> Scene {
    let scene = Scene::open().await;
    let charges: Vec<_> = (1..=5)
        .map(|n| Charge::new((n, "2024-09"), format!("acct-{n}"), ("vm", "0.25"), n))
        .collect();
    let usage = scene.usage("usage.csv", &charges);
    scene.close(&format!("--usage {usage}")).await;
    scene
}

#[tokio::test]
async fn an_amount_changed_by_hand_is_found_and_named() {
    let scene = closed().await;
    let before = scene.month_close("check --json").run().await.exits(0);
    assert_eq!(before.json()["checks"]["violated"], 0);
    before.says(&["none violated"]);

    planted(
        &scene,
        "update billing.line set amount_minor = amount_minor + 1 where exact = 0.5",
    )
    .await;

    let found = scene.month_close("check --json").run().await.exits(1);
    let checks = &found.json()["checks"];
    let codes: Vec<_> = checks["codes"].as_array().unwrap().iter().collect();
    assert!(codes.contains(&&"I7".into()), "{checks}");
    found.says(&[
        "VIOLATED",
        "I7 a line's amount is its exact amount",
        "\"amount_minor\"",
    ]);
}

#[tokio::test]
async fn a_gap_in_the_numbers_is_found_and_makes_a_run_fail() {
    let scene = closed().await;

    planted(
        &scene,
        "update billing.invoice set number = 40 where number = 4",
    )
    .await;

    scene
        .month_close("check")
        .run()
        .await
        .exits(1)
        .says(&["VIOLATED", "I3"]);
    let run = scene.month_close("--json").run().await.exits(1);
    assert_ne!(run.json()["checks"]["violated"], 0);
}

#[tokio::test]
async fn an_invoice_counted_twice_by_a_consumer_is_found() {
    let scene = closed().await;

    planted(
        &scene,
        "update billing.collection_figure set invoices = invoices + 1",
    )
    .await;

    scene
        .month_close("check")
        .run()
        .await
        .exits(1)
        .says(&["VIOLATED", "R1"]);
}

#[tokio::test]
async fn a_final_invoice_cannot_be_changed_without_taking_the_guards_away() {
    let scene = closed().await;

    for change in [
        "update billing.line set amount_minor = 1",
        "delete from billing.invoice",
    ] {
        let refused = sqlx::query(change).execute(scene.pool()).await.unwrap_err();
        assert!(
            refused
                .to_string()
                .contains("a final invoice never changes"),
            "{refused}"
        );
    }

    scene.month_close("check").run().await.exits(0);
}

const EVERY_SECOND: &str = "* * * * * *";
/// How many runs have begun.
const RUNS: &str = "select max(passed) from outbox.position
    join outbox.consumer using (consumer) where name = 'checks'";
const TOLD: &str = "select topic || ' ' || (payload ->> 'code') from outbox.event
    where topic in ('check.violated', 'check.passed') order by id";

#[tokio::test]
async fn a_scheduled_run_tells_of_a_violation_once_by_event_log_and_metric() {
    let scene = closed().await;
    scene
        .sql("update billing.number_series set next_number = 1")
        .await;

    let address = free_address();
    let running = scene
        .relay("--checks")
        .with([EVERY_SECOND, "--metrics", &address])
        .start();
    scene.until_at_least(4, RUNS).await;
    until("Prometheus sees it", PATIENCE, async || {
        let page = http::text(&address, "/metrics").await?;
        let all = [
            "billing_check_violations{code=\"I3\"} 1",
            "billing_check_violations{code=\"I4\"} 0",
        ];
        all.iter().all(|line| page.contains(line)).then_some(())
    })
    .await
    .unwrap();
    assert_eq!(scene.texts(TOLD).await, ["check.violated I3"]);
    let said = running.said();
    let errors: Vec<&str> = said.lines().filter(|line| line.contains("ERROR")).collect();
    assert_eq!(errors.len(), 1, "{said}");
    assert!(errors[0].contains("Check I3 is violated"), "{said}");
    assert!(errors[0].contains("\"next_number\":1"), "{said}");

    scene
        .sql("update billing.number_series set next_number = 6")
        .await;
    running.has_said("Check I3 holds again").await;
    running.stop().await.exits(0);
    assert_eq!(
        scene.texts(TOLD).await,
        ["check.violated I3", "check.passed I3"]
    );
}

#[tokio::test]
async fn a_scheduled_run_that_finds_nothing_says_nothing() {
    let scene = closed().await;

    let running = scene.relay("--checks").with([EVERY_SECOND]).start();
    scene.until_at_least(3, RUNS).await;
    let ended = running.stop().await.exits(0);

    assert!(!ended.err.contains("Check "), "{}", ended.err);
    assert!(!ended.err.contains("WARN"), "{}", ended.err);
    assert!(scene.texts(TOLD).await.is_empty());
    let clean = "select count(*) from billing.check_result where violations = 0";
    assert!(scene.count(clean).await > 40);
}

#[tokio::test]
async fn the_checks_of_a_site_run_when_it_says_or_not_at_all() {
    let scene = Scene::open().await;
    let planned = "select cron from outbox.schedule where name = 'checks'";

    for (times, stands) in [("0 3 * * *", vec!["0 3 * * *"]), ("off", Vec::new())] {
        let running = scene.relay("--checks").with([times]).start();
        running.has_said("consumers: checks").await;
        running.stop().await.exits(0);
        assert_eq!(scene.texts(planned).await, stands);
    }
    let wrong = scene.relay("--checks").with(["hourly"]).run().await;
    wrong.exits(2).says(&["`hourly` is no cron expression"]);
}
