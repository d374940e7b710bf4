//! Cards: a token comes in, a number never does, and neither comes out.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::client::{self, Answer, post};
use crate::scene::Scene;

fn card(token: &str) -> Value {
    json!({ "gateway": "house", "token": token, "brand": "Visa", "last_four": "4242" })
}

async fn methods(scene: &Scene) -> String {
    let id = scene.create("acme").await.field("account_id");
    format!("/v1/accounts/{id}/payment-methods")
}

#[tokio::test]
async fn a_card_is_added_once_shown_without_its_token_and_removed() {
    let scene = Scene::new().await;
    let methods = methods(&scene).await;

    let added = scene.tell(&methods, &card("tok_approve")).await;
    let again = scene.tell(&methods, &card("tok_approve")).await;

    assert_eq!((added.status, again.status), (201, 200));
    let id = added.field("payment_method_id");
    assert_eq!(again.field("payment_method_id"), id);
    let listed = scene.get(&methods).await;
    assert_eq!(listed.json()["items"].as_array().unwrap().len(), 1);
    assert_eq!(listed.json()["items"][0]["last_four"], "4242");
    for answer in [&added, &again, &listed] {
        assert!(!answer.body.contains("tok_approve"), "{answer:?}");
    }
    let bare = id.parse::<Uuid>().unwrap().simple();
    let one = format!("{methods}/pmt_{bare}");
    let remove = client::send("DELETE", &one, "", "");
    assert_eq!(scene.send(&remove).await.status, 204);
    assert_eq!(scene.send(&remove).await.status, 404);
    let removed = scene.get(&methods).await.json();
    assert!(removed["items"][0]["removed_at"].is_string());
    let history = methods.replace("payment-methods", "history");
    let history = scene.get(&history).await;
    assert!(history.body.contains("payment_method.removed"));
    assert!(!history.body.contains("tok_approve"));
}

#[tokio::test]
async fn a_cards_number_is_refused_wherever_it_stands_and_not_repeated() {
    let scene = Scene::new().await;
    let methods = methods(&scene).await;
    let number = "4242424242424242";
    let with = |field: &str, value: Value| {
        let mut body = card("tok_approve");
        body[field] = value;
        body
    };
    let mut bodies = vec![
        with("token", json!(number)),
        with("token", json!("4242 4242 4242 4242")),
        with("token", json!("4242/4242/4242/4242")),
        with("token", json!(format!("tok_{number}"))),
        with("brand", json!(format!("Visa {number}"))),
        with("gateway", json!(number)),
        with("last_four", json!(number)),
        // Where the reader would name the value, or the field, that it did not expect.
        with("token", json!(4_242_424_242_424_242_i64)),
        with("last_four", json!(4_242_424_242_424_242_i64)),
        with("number", json!(number)),
        with(number, json!(1)),
        json!(number),
    ];
    bodies.push(json!([number, number, number, number]));
    for body in bodies {
        let answer = scene.tell(&methods, &body).await;

        assert_eq!(answer.status, 422, "{body}");
        assert!(!repeats(&answer), "{answer:?}");
    }
    let cut = format!(r#"{{"token":"{number}"#);
    let answer = scene.send(&post(&methods, "", &cut)).await;
    assert_eq!(answer.status, 400);
    assert!(!repeats(&answer), "{answer:?}");
    assert_eq!(scene.count("billing.payment_method").await, 0);

    // The usual reader of bodies would have told.
    let credits = methods.replace("payment-methods", "credits");
    let body = json!({ "amount": 4_242_424_242_424_242_i64 });
    assert!(repeats(&scene.tell(&credits, &body).await));
    let added = scene.tell(&methods, &card("tok_approve")).await;
    assert_eq!(added.status, 201);
}

fn repeats(answer: &Answer) -> bool {
    answer.body.replace([' ', '/'], "").contains("42424242")
}

#[tokio::test]
async fn the_path_of_a_card_that_is_not_there_is_not_repeated() {
    let scene = Scene::new().await;
    let methods = methods(&scene).await;

    for absent in ["4242424242424242", "0192f3a1-0000-7000-8000-000000000001"] {
        let remove = client::send("DELETE", &format!("{methods}/{absent}"), "", "");
        let answer = scene.send(&remove).await;

        assert_eq!(answer.status, 404);
        assert!(!answer.body.contains(absent), "{answer:?}");
    }
}
