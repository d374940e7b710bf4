//! Promise: the checks find what must not exist, name it, and exit accordingly.

use crate::scene::{Charge, Scene};

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
