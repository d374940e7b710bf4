//! In what each profile differs from the usual gateway, which is the control of each.

use std::time::Duration;

use axum::http::StatusCode;
use gateway_sim::Profile;
use serde_json::json;

use crate::caller::{Answer, order};
use crate::scene::{Scene, gateway, gateway_with, until};

async fn like(name: &str) -> Scene {
    let profile = Profile::named(name).unwrap();
    gateway_with(|sim| sim.profile(profile)).await
}

/// The same request twice, and how many charges there are.
async fn twice(scene: &Scene, token: &str) -> (Answer, Answer, usize) {
    let first = scene.caller.charge("a-1", token).await;
    let second = scene.caller.charge("a-1", token).await;
    (first, second, scene.caller.charges_of("a-1").await.len())
}

const ERROR_BEFORE: &str = "tok_500_then_ok";
const ERROR_AFTER: &str = "tok_timeout_charged_1ms";

#[tokio::test]
async fn a_usual_gateway_finishes_what_ended_in_an_error() {
    for token in [ERROR_BEFORE, ERROR_AFTER] {
        let (first, second, charges) = twice(&gateway().await, token).await;

        assert!(first.status.is_server_error(), "{token}");
        assert_eq!(second.status, StatusCode::CREATED, "{token}");
        assert_eq!(charges, 1, "{token}");
    }
}

#[tokio::test]
async fn a_saved_error_is_the_answer_for_ever_whether_or_not_it_charged() {
    for (token, expected) in [(ERROR_BEFORE, 0), (ERROR_AFTER, 1)] {
        let (first, second, charges) = twice(&like("saves-errors").await, token).await;

        assert!(first.status.is_server_error(), "{token}");
        assert_eq!(second, first, "{token}");
        assert_eq!(charges, expected, "{token}");
    }
}

#[tokio::test]
async fn a_forgotten_error_frees_its_key_even_if_it_charged() {
    for (token, expected) in [(ERROR_BEFORE, 1), (ERROR_AFTER, 2), ("tok_none", 2)] {
        let (_, _, charges) = twice(&like("forgets-errors").await, token).await;

        assert_eq!(charges, expected, "{token}");
    }
    let (_, _, charges) = twice(&like("forgets-errors").await, "tok_approve").await;
    assert_eq!(charges, 1);
}

#[tokio::test]
async fn a_key_under_way_is_refused_and_free_afterwards() {
    let scene = like("in-progress").await;
    let (caller, waiting) = (scene.caller.clone(), scene.caller.clone());

    let first = tokio::spawn(async move { caller.charge("a-1", "tok_slow_500ms").await });
    until("the first to be under way", async || {
        (!waiting.charges_of("a-1").await.is_empty()).then_some(())
    })
    .await;
    let second = scene.caller.charge("a-1", "tok_slow_500ms").await;
    let first = first.await.unwrap();
    let third = scene.caller.charge("a-1", "tok_slow_500ms").await;

    assert_eq!(second.status, StatusCode::CONFLICT);
    assert_eq!(second.error(), "in_progress");
    assert_eq!(third, first);
}

#[tokio::test]
async fn each_key_is_turned_away_once() {
    let (first, second, charges) = twice(&like("throttles").await, "tok_approve").await;

    assert_eq!(first.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(second.status, StatusCode::CREATED);
    assert_eq!(charges, 1);
}

#[tokio::test]
async fn without_keys_each_request_charges_and_none_is_cancelled() {
    let scene = like("no-keys").await;

    let (_, _, charges) = twice(&scene, "tok_approve").await;

    assert_eq!(charges, 2);
    assert_eq!(
        scene.caller.cancel("a-1").await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn a_short_key_is_forgotten_after_two_seconds_of_the_gateways_clock() {
    let scene = like("short-keys").await;
    scene.caller.captured("a-1").await;

    scene.gateway.advance(Duration::from_secs(3));
    scene.caller.captured("a-1").await;

    assert_eq!(scene.caller.charges_of("a-1").await.len(), 2);
}

#[tokio::test]
async fn a_late_look_up_finds_a_charge_five_seconds_after_it() {
    let scene = like("late-look-ups").await;
    let id = scene.caller.captured("a-1").await;
    scene.caller.refund("r-1", &id, 1).await;
    assert!(scene.caller.charges_of("a-1").await.is_empty());

    scene.gateway.advance(Duration::from_secs(6));

    assert_eq!(scene.caller.charges_of("a-1").await.len(), 1);
    let refunds = scene.caller.get("/v1/refunds?reference=r-1").await;
    assert_eq!(refunds["refunds"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_strict_gateway_refuses_the_same_content_in_other_bytes() {
    for (name, status) in [
        ("default", StatusCode::CREATED),
        ("strict-bodies", StatusCode::CONFLICT),
    ] {
        let scene = like(name).await;
        scene.caller.captured("a-1").await;

        let spaced = format!(" {}", order("a-1", "tok_approve"));
        let request = scene.caller.posting("/v1/charges", Some("a-1"), spaced);
        let again = scene.caller.try_send(request).await.unwrap();

        assert_eq!(again.status, status, "{name}");
    }
}

#[tokio::test]
async fn a_gateway_tells_what_it_is_like() {
    for profile in Profile::ALL {
        let scene = gateway_with(|sim| sim.profile(profile)).await;

        let health = scene.caller.get("/healthz").await;

        assert_eq!(health["profile"], json!(profile.name));
    }
}
