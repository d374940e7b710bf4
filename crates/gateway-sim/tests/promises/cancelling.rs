//! A cancelled key can charge nothing any more; a used one tells what it charged.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::Value;

use crate::scene::{gateway, gateway_with, until};

#[tokio::test]
async fn a_request_that_comes_after_its_key_was_cancelled_is_refused() {
    let scene = gateway().await;

    let cancelled = scene.caller.cancel("a-1").await;
    let again = scene.caller.cancel("a-1").await;
    let late = scene.caller.charge("a-1", "tok_approve").await;

    assert_eq!(cancelled.status, StatusCode::OK);
    assert_eq!(cancelled.json()["status"], "cancelled");
    assert_eq!(cancelled.json()["charge"], Value::Null);
    assert_eq!(again, cancelled);
    assert_eq!(late.status, StatusCode::CONFLICT);
    assert_eq!(late.error(), "key_burnt");
    assert!(scene.caller.charges_of("a-1").await.is_empty());
}

#[tokio::test]
async fn a_request_that_is_on_its_way_is_fenced_off() {
    let scene = gateway().await;
    let sender = scene.caller.clone();

    let on_its_way = tokio::spawn(async move { sender.charge("a-1", "tok_late_1500ms").await });
    let looked_up = scene.caller.charges_of("a-1").await;
    let cancelled = scene.caller.cancel("a-1").await;
    let landed = on_its_way.await.unwrap();

    assert!(looked_up.is_empty());
    assert_eq!(cancelled.json()["status"], "cancelled");
    assert_eq!(landed.error(), "key_burnt");
    assert!(scene.caller.charges_of("a-1").await.is_empty());
}

#[tokio::test]
async fn a_request_that_was_faster_is_told() {
    let scene = gateway().await;
    let hasty = scene
        .caller
        .clone()
        .who_leaves_after(Duration::from_millis(500));

    hasty.try_charge("a-1", "tok_timeout_charged").await;
    let charge = until("the charge", async || {
        scene.caller.charges_of("a-1").await.pop()
    })
    .await;
    let told = scene.caller.cancel("a-1").await;

    assert_eq!(told.json()["status"], "used");
    assert_eq!(told.json()["charge"], charge);
}

#[tokio::test]
async fn a_burnt_key_is_never_forgotten() {
    let scene = gateway_with(|sim| sim.key_lifetime(Duration::ZERO)).await;

    scene.caller.cancel("a-1").await;

    let late = scene.caller.charge("a-1", "tok_approve").await;
    assert_eq!(late.error(), "key_burnt");
}

#[tokio::test]
async fn what_failed_before_charging_can_be_cancelled() {
    let scene = gateway().await;

    scene.caller.charge("a-1", "tok_500_then_ok").await;
    let cancelled = scene.caller.cancel("a-1").await;
    let again = scene.caller.charge("a-1", "tok_500_then_ok").await;

    assert_eq!(cancelled.json()["status"], "cancelled");
    assert_eq!(again.error(), "key_burnt");
}

#[tokio::test]
async fn a_refunds_key_is_not_a_charges() {
    let scene = gateway().await;
    let id = scene.caller.captured("a-1").await;
    scene.caller.refund("r-1", &id, 1).await;

    let refused = scene.caller.cancel("r-1").await;

    assert_eq!(refused.status, StatusCode::CONFLICT);
}
