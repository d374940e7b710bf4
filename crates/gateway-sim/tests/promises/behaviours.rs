//! Each token does what the table says.

use std::time::{Duration, Instant};

use axum::http::StatusCode;

use crate::scene::{gateway, gateway_with, until};

const SHORT: Duration = Duration::from_millis(500);

#[tokio::test]
async fn an_approved_charge_is_captured_and_found_by_our_reference() {
    let scene = gateway().await;

    let answer = scene.caller.charge("a-1", "tok_approve_acme").await;

    assert_eq!(answer.status, StatusCode::CREATED);
    let charge = answer.json();
    assert_eq!(charge["status"], "captured");
    assert_eq!(charge["reference"], "a-1");
    assert_eq!(charge["amount_minor"], 1201);
    assert_eq!(charge["currency"], "USD");
    assert!(charge.get("decline_code").is_none());
    let id = charge["charge_id"].as_str().unwrap();
    assert_eq!(scene.caller.get(&format!("/v1/charges/{id}")).await, charge);
    assert_eq!(scene.caller.charges_of("a-1").await, [charge]);
    assert!(scene.caller.charges_of("a-2").await.is_empty());
}

#[tokio::test]
async fn a_declined_charge_says_why_and_moves_no_money() {
    let scene = gateway().await;

    let hard = scene.caller.charge("a-1", "tok_decline").await;
    let unknown = scene.caller.charge("a-2", "tok_none").await;
    let strange = scene.caller.charge("a-3", "pm_whatever").await;

    assert_eq!(hard.status, StatusCode::CREATED);
    assert_eq!(hard.json()["status"], "declined");
    assert_eq!(hard.json()["decline_code"], "do_not_honor");
    assert_eq!(hard.json()["soft"], false);
    for answer in [unknown, strange] {
        assert_eq!(answer.status, StatusCode::PAYMENT_REQUIRED);
        assert_eq!(answer.json()["status"], "declined");
        assert_eq!(answer.json()["decline_code"], "unknown_card");
    }
    let statement = scene.caller.get("/v1/statement").await;
    assert_eq!(statement["movements"].as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn a_soft_decline_comes_once_per_token() {
    let scene = gateway().await;
    let charge = async |key, token| scene.caller.charge(key, token).await.json();

    let first = charge("a-1", "tok_soft_then_ok_acme").await;
    let second = charge("a-2", "tok_soft_then_ok_acme").await;
    let third = charge("a-3", "tok_soft_then_ok_acme").await;
    let other = charge("b-1", "tok_soft_then_ok_blue").await;

    assert_eq!(first["decline_code"], "insufficient_funds");
    assert_eq!(first["soft"], true);
    assert_eq!(second["status"], "captured");
    assert_eq!(third["status"], "captured");
    assert_eq!(other["soft"], true);
}

#[tokio::test]
async fn a_timeout_after_charging_is_known_by_look_up_and_by_the_same_key() {
    let scene = gateway().await;
    let hasty = scene.caller.clone().who_leaves_after(SHORT);

    let nothing = hasty.try_charge("a-1", "tok_timeout_charged").await;
    let found = scene.caller.charges_of("a-1").await;
    let again = scene.caller.charge("a-1", "tok_timeout_charged").await;

    assert_eq!(nothing, None);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["status"], "captured");
    assert_eq!(again.status, StatusCode::CREATED);
    assert_eq!(again.json(), found[0]);
    assert_eq!(scene.caller.charges_of("a-1").await.len(), 1);
}

#[tokio::test]
async fn a_patient_caller_is_told_that_there_is_no_answer() {
    let scene = gateway().await;

    let answer = scene.caller.charge("a-1", "tok_timeout_charged_50ms").await;

    assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(scene.caller.charges_of("a-1").await.len(), 1);
}

#[tokio::test]
async fn a_failure_before_charging_charges_nothing_until_the_key_comes_again() {
    let scene = gateway().await;

    let first = scene.caller.charge("a-1", "tok_500_then_ok").await;
    let between = scene.caller.charges_of("a-1").await;
    let second = scene.caller.charge("a-1", "tok_500_then_ok").await;

    assert_eq!(first.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(between.is_empty());
    assert_eq!(second.status, StatusCode::CREATED);
    assert_eq!(second.json()["status"], "captured");
}

#[tokio::test]
async fn a_busy_gateway_says_that_it_did_nothing() {
    let scene = gateway().await;

    let first = scene.caller.charge("a-1", "tok_busy_then_ok").await;
    let between = scene.caller.charges_of("a-1").await;
    let second = scene.caller.charge("a-1", "tok_busy_then_ok").await;

    assert_eq!(first.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(first.json()["error"]["code"], "busy");
    assert!(between.is_empty());
    assert_eq!(second.json()["status"], "captured");
}

#[tokio::test]
async fn a_slow_answer_comes_after_its_time_and_the_charge_before() {
    let scene = gateway().await;
    let slow = scene.caller.clone();
    let began = Instant::now();

    let answer = tokio::spawn(async move { slow.charge("a-1", "tok_slow_1500ms").await });
    until("the charge", async || {
        scene.caller.charges_of("a-1").await.pop()
    })
    .await;
    let charged_after = began.elapsed();
    let answer = answer.await.unwrap();

    assert!(began.elapsed() >= Duration::from_millis(1500));
    assert!(
        charged_after < Duration::from_millis(1500),
        "{charged_after:?}"
    );
    assert_eq!(answer.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_late_request_lands_after_its_sender_has_left() {
    let scene = gateway().await;
    let hasty = scene.caller.clone().who_leaves_after(SHORT);

    let nothing = hasty.try_charge("a-1", "tok_late_1500ms").await;
    let looked_up_too_early = scene.caller.charges_of("a-1").await;
    let landed = until("the late charge", async || {
        scene.caller.charges_of("a-1").await.pop()
    })
    .await;

    assert_eq!(nothing, None);
    assert!(looked_up_too_early.is_empty());
    assert_eq!(landed["status"], "captured");
}

#[tokio::test]
async fn a_wrong_amount_is_half_of_what_was_asked_for() {
    let scene = gateway().await;

    let charge = scene.caller.charge("a-1", "tok_wrong_amount").await.json();

    assert_eq!(charge["amount_minor"], 601);
    let statement = scene.caller.get("/v1/statement").await;
    assert_eq!(statement["totals"][0]["captured_minor"], 601);
}

#[tokio::test]
async fn a_distant_gateway_adds_its_latency() {
    let scene = gateway_with(|sim| sim.latency(SHORT)).await;

    let began = Instant::now();
    scene.caller.captured("a-1").await;

    assert!(began.elapsed() >= SHORT);
}
