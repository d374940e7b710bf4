//! Promise: what was invoiced is collected once, whatever dies meanwhile; who does not pay is held,
//! and let go by the payment.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::until;

use crate::scene::{Http, PATIENCE, Random, Scene};

/// A payment moves in steps; so many have been made.
const STEPS: &str = "
    select count(*) + count(sent_at) + count(settled_at) from billing.payment";
const ATTEMPTS: u64 = 36;

/// What the sample comes to, however often it was interrupted.
async fn expect_the_samples_figures(scene: &Scene) {
    let closed = scene.close("").await;
    assert_eq!(closed["collected"], json!({ "USD": "8.36" }));
    assert_eq!(closed["declined"], json!({ "USD": "1.51" }));
    assert_eq!(closed["held"], 4);
    assert_eq!(closed["checks"]["violated"], 0, "{}", closed["checks"]);
}

/// A worker that was killed is dead after six seconds without a sign of life. Without this each
/// kill would cost them.
async fn forget_the_dead(scene: &Scene) {
    scene
        .sql("update outbox.member set heartbeat = heartbeat - interval '1 minute'")
        .await;
}

#[tokio::test]
async fn killed_at_any_step_of_its_payments_a_close_charges_nobody_twice() {
    let scene = Scene::open().await;
    let mut random = Random::seeded();
    for kill in 0..6 {
        let share = 3 * ATTEMPTS * 8 / 10 / 6;
        let moment = random
            .within(kill * share..(kill + 1) * share)
            .cast_signed();
        let mut running = scene.month_close("").start();
        let reached = until("some steps", PATIENCE, async || {
            let there = scene.count(STEPS).await >= moment;
            (there || !running.is_running()).then_some(())
        });
        reached.await.unwrap();
        running
            .works_for(Duration::from_millis(random.within(0..30)))
            .await;
        running.kill().await;
        forget_the_dead(&scene).await;
    }

    expect_the_samples_figures(&scene).await;
}

/// The control: a charge that the books forget is found by the gateway's statement.
#[tokio::test]
async fn money_that_the_books_forgot_is_found_on_the_gateways_statement() {
    let scene = Scene::open().await;
    scene.close("").await;
    scene
        .sql(
            "alter table billing.payment disable trigger user;
            delete from billing.payment
            where payment_id = (select payment_id from billing.payment
                where state = 'succeeded' order by payment_id limit 1)",
        )
        .await;

    let checked = scene.month_close("check").with(["--json"]).run().await;

    let printed = checked.exits(1).json();
    let codes = printed["checks"]["codes"].as_array().unwrap().clone();
    assert!(codes.contains(&json!("G1")), "{codes:?}");
}

/// The account of the sample whose hard decline is the largest.
const DEBTOR: &str = "18938484842";

#[tokio::test]
async fn api_relay_and_worker_hold_a_debtor_and_let_them_go_when_they_pay() {
    let scene = Scene::open().await;
    let api = scene
        .api("--listen 127.0.0.1:0")
        .env("RUST_LOG", "info")
        .start();
    let relay = scene.relay("--role relay").start();
    let worker = scene.relay("--role worker").start();
    let http = Http::of(&api).await;
    scene.close("--no-workers").await;
    let account = format!("/v1/accounts/{DEBTOR}");

    let held = http
        .until(&account, |account| account["held"] == true)
        .await;
    assert_eq!(held["holds"][0]["reason"], "delinquent");
    let card = json!({
        "gateway": "sim", "token": "tok_approve", "brand": "Visa", "last_four": "4242",
    });
    let (status, added) = http
        .post(&format!("{account}/payment-methods"), &card)
        .await;
    assert_eq!(status, 201, "{added}");

    http.until(&account, |account| account["held"] == false)
        .await;
    let payments = http.get(&format!("{account}/payments")).await;
    let states: Vec<&Value> = payments["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|payment| &payment["state"])
        .collect();
    assert_eq!(states, ["succeeded", "declined"]);
    let history = http.get(&format!("{account}/history?limit=200")).await;
    let topics: Vec<&str> = history["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|entry| entry["topic"].as_str())
        .filter(|topic| !topic.starts_with("account.") && !topic.starts_with("payment_method."))
        .collect();
    assert_eq!(
        topics,
        [
            "invoice.finalized",
            "payment.declined",
            "hold.placed",
            "payment.wanted",
            "payment.succeeded",
            "invoice.paid",
            "hold.released"
        ]
    );
    for process in [api, relay, worker] {
        process.stop().await.exits(0);
    }
    let after = scene.close("").await;
    assert_eq!(after["held"], 3);
    assert_eq!(after["checks"]["violated"], 0, "{}", after["checks"]);
}

/// Half-played: a consumer that dies leaves the others alone.
#[tokio::test]
async fn where_nobody_charges_the_other_consumers_go_on() {
    let scene = Scene::open().await;
    let relay = scene
        .relay("--consumers documents,notices,collection-report")
        .start();
    scene.close("--no-workers").await;

    let written = "select count(*) from billing.document where state = 'written'";
    scene.until_at_least(66, written).await;
    let told = "select count(*) from billing.notice where state = 'sent'";
    scene.until_at_least(39, told).await;
    assert_eq!(scene.count("select count(*) from billing.payment").await, 0);

    relay.stop().await.exits(0);
    expect_the_samples_figures(&scene).await;
}
