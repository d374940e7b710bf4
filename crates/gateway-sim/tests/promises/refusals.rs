//! What is not a request is refused, says why, and leaves nothing behind.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::caller::{Caller, order};
use crate::scene::gateway;

const CARD: &str = "4242424242424242";

async fn changed(caller: &Caller, field: &str, value: Value) -> crate::caller::Answer {
    let mut body = order("a-1", "tok_approve");
    body[field] = value;
    caller.post("/v1/charges", "k-1", &body).await
}

#[tokio::test]
async fn a_request_that_does_not_fit_charges_nothing() {
    let scene = gateway().await;

    for (field, value) in [
        ("amount_minor", json!(0)),
        ("amount_minor", json!(-5)),
        ("amount_minor", json!(12.5)),
        ("amount_minor", json!(1_000_000_000_000_i64)),
        ("currency", json!("usd")),
        ("currency", json!("DOLLARS")),
        ("reference", json!("")),
        ("token", json!("")),
        ("description", json!("x".repeat(501))),
        ("card", json!("no such field")),
    ] {
        let answer = changed(&scene.caller, field, value).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{field}");
        assert_eq!(answer.error(), "invalid_request", "{field}");
    }

    assert!(scene.caller.charges_of("a-1").await.is_empty());
    assert_eq!(
        scene.caller.charge("k-1", "tok_approve").await.status,
        StatusCode::CREATED
    );
}

#[tokio::test]
async fn a_charge_needs_a_key() {
    let scene = gateway().await;
    let send = async |key: Option<&str>| {
        let body = order("a-1", "tok_approve").to_string();
        let request = scene.caller.posting("/v1/charges", key, body);
        scene.caller.try_send(request).await.unwrap()
    };

    for key in [None, Some(""), Some("a b"), Some("k".repeat(256).as_str())] {
        assert_eq!(send(key).await.error(), "invalid_request", "{key:?}");
    }
    let longest = "k".repeat(255);
    assert_eq!(send(Some(&longest)).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_card_number_is_refused_wherever_it_stands_and_never_repeated() {
    let scene = gateway().await;

    for field in ["token", "reference", "description"] {
        let text = format!("tok_approve_{CARD}");
        let answer = changed(&scene.caller, field, json!(text)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{field}");
        assert_eq!(answer.error(), "card_number", "{field}");
        assert!(
            !String::from_utf8_lossy(&answer.body).contains(CARD),
            "{field}"
        );
    }
    assert_eq!(
        scene.caller.charge(CARD, "tok_approve").await.error(),
        "card_number"
    );
    assert_eq!(scene.caller.cancel(CARD).await.error(), "card_number");

    for file in std::fs::read_dir(scene.dir.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(
            !bytes
                .windows(CARD.len())
                .any(|window| window == CARD.as_bytes())
        );
    }
}

#[tokio::test]
async fn what_is_nowhere_is_not_found() {
    let scene = gateway().await;

    for path in ["/v1/charges/ch_0000000001", "/v1/charges/1", "/v2"] {
        let answer = scene.caller.try_get(path).await.unwrap();
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
    }
    for path in [
        "/v1/charges",
        "/v1/statement?limit=0",
        "/v1/statement?from=yesterday",
    ] {
        let answer = scene.caller.try_get(path).await.unwrap();
        assert_eq!(answer.error(), "invalid_request", "{path}");
    }
}

#[tokio::test]
async fn a_body_of_megabytes_is_refused() {
    let scene = gateway().await;

    let request = scene
        .caller
        .posting("/v1/charges", Some("k-1"), " ".repeat(100_000));
    let answer = scene.caller.try_send(request).await.unwrap();

    assert_eq!(answer.error(), "invalid_request");
}
