//! One key, one charge, one answer.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::json;

use crate::caller::{Answer, Caller, order};
use crate::scene::{gateway, gateway_with};

const CALLERS: usize = 50;

/// Charges with these keys, all at once, all with the reference `a-1`.
async fn charge_at_once(caller: &Caller, keys: impl Iterator<Item = String>) -> Vec<Answer> {
    let calls: Vec<_> = keys
        .map(|key| {
            let caller = caller.clone();
            let body = order("a-1", "tok_approve");
            tokio::spawn(async move { caller.post("/v1/charges", &key, &body).await })
        })
        .collect();
    let mut answers = Vec::new();
    for call in calls {
        answers.push(call.await.unwrap());
    }
    answers
}

#[tokio::test]
async fn fifty_requests_with_one_key_make_one_charge_and_get_one_answer() {
    let scene = gateway().await;

    let same = std::iter::repeat_n("k-1".to_owned(), CALLERS);
    let answers = charge_at_once(&scene.caller, same).await;

    assert_eq!(answers[0].status, StatusCode::CREATED);
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(scene.caller.charges_of("a-1").await.len(), 1);
    let statement = scene.caller.get("/v1/statement").await;
    assert_eq!(statement["totals"][0]["captured_minor"], 1201);
}

#[tokio::test]
async fn fifty_requests_with_fifty_keys_make_fifty_charges() {
    let scene = gateway().await;

    let different = (0..CALLERS).map(|n| format!("k-{n}"));
    charge_at_once(&scene.caller, different).await;

    assert_eq!(scene.caller.charges_of("a-1").await.len(), CALLERS);
}

#[tokio::test]
async fn the_first_answer_is_repeated_byte_for_byte_whatever_happened_since() {
    let scene = gateway().await;

    let first = scene.caller.charge("a-1", "tok_approve").await;
    let id = first.json()["charge_id"].as_str().unwrap().to_owned();
    scene.caller.refund("r-1", &id, 1).await;
    let again = scene.caller.charge("a-1", "tok_approve").await;
    let declined = scene.caller.charge("a-2", "tok_none").await;

    assert_eq!(again, first);
    assert_eq!(scene.caller.charges_of("a-1").await[0]["refunded_minor"], 1);
    assert_eq!(scene.caller.charge("a-2", "tok_none").await, declined);
}

#[tokio::test]
async fn the_order_of_the_fields_does_not_matter_but_their_content_does() {
    let scene = gateway().await;
    let first = scene.caller.charge("a-1", "tok_approve").await;

    let text = r#"{ "currency":"USD","amount_minor":1201, "token":"tok_approve",
                    "description":"January 2031","reference":"a-1"}"#;
    let request = scene
        .caller
        .posting("/v1/charges", Some("a-1"), text.to_owned());
    let turned = scene.caller.try_send(request).await.unwrap();

    assert_eq!(turned, first);
    for (field, other) in [
        ("reference", json!("a-2")),
        ("token", json!("tok_decline")),
        ("amount_minor", json!(1202)),
        ("currency", json!("EUR")),
        ("description", json!("")),
    ] {
        let mut changed = order("a-1", "tok_approve");
        changed[field] = other;
        let refused = scene.caller.post("/v1/charges", "a-1", &changed).await;
        assert_eq!(refused.status, StatusCode::CONFLICT, "{field}");
        assert_eq!(refused.error(), "key_reused", "{field}");
    }
}

#[tokio::test]
async fn a_key_belongs_to_one_kind_of_request() {
    let scene = gateway().await;
    let id = scene.caller.captured("k-1").await;

    let refused = scene.caller.refund("k-1", &id, 100).await;

    assert_eq!(refused.error(), "key_reused");
    assert_eq!(scene.caller.charges_of("k-1").await[0]["refunded_minor"], 0);
}

#[tokio::test]
async fn a_forgotten_key_charges_again() {
    let remembers = gateway().await;
    let forgets = gateway_with(|sim| sim.key_lifetime(Duration::ZERO)).await;

    for scene in [&remembers, &forgets] {
        scene.caller.captured("a-1").await;
        scene.caller.captured("a-1").await;
    }

    assert_eq!(remembers.caller.charges_of("a-1").await.len(), 1);
    assert_eq!(forgets.caller.charges_of("a-1").await.len(), 2);
}
