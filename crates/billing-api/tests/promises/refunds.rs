//! Money given back: told once or five times, it moves once, and never more than came in.

use futures::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::sample::{Debt, closed};
use crate::scene::Scene;

const PAYMENT: &str = "0192f3a1-0000-7000-8000-000000000001";
const REFUND: &str = "0192f3a1-0000-7000-8000-000000000002";
const PATH: &str = "/v1/payments/0192f3a1-0000-7000-8000-000000000001/refunds";

/// An invoice that was paid by hand.
async fn paid() -> (Scene, Debt) {
    let scene = closed().await;
    let debt = Debt::of(&scene).await;
    let body = json!({
        "payment_id": PAYMENT, "invoice": Uuid::from(debt.invoice), "amount": debt.due(),
        "currency": "USD", "note": "transfer 7",
    });
    let answer = scene
        .tell(&format!("{}/payments", debt.path()), &body)
        .await;
    assert_eq!(answer.status, 201);
    (scene, debt)
}

fn refund(amount: &str) -> Value {
    json!({ "amount": amount, "currency": "USD", "reason": "the machine was down" })
}

#[tokio::test]
async fn a_refund_moves_once_however_often_it_is_told() {
    let (scene, debt) = paid().await;
    let mut body = refund("0.05");
    body["refund_id"] = json!(REFUND);

    let answers = join_all((0..5).map(|_| scene.tell(PATH, &body))).await;

    let created = answers.iter().filter(|answer| answer.status == 201).count();
    let again = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!((created, again), (1, 4));
    assert!(answers.iter().all(|answer| answer.body == answers[0].body));
    assert_eq!(answers[0].field("state"), "succeeded");
    assert_eq!(
        scene
            .count("billing.transfer where source_kind = 'refund'")
            .await,
        1
    );
    let payments = scene.get(&format!("{}/payments", debt.path())).await.json();
    assert_eq!(payments["items"][0]["refunded"], "0.05");
    body["amount"] = json!("0.06");
    assert_eq!(scene.tell(PATH, &body).await.status, 409);
}

#[tokio::test]
async fn more_than_came_in_is_refused_with_what_is_left() {
    let (scene, debt) = paid().await;
    assert_eq!(scene.tell(PATH, &refund(&debt.due())).await.status, 201);

    let above = scene.tell(PATH, &refund("0.01")).await;
    let euros = json!({ "amount": "0.01", "currency": "EUR", "reason": "x" });
    let foreign = scene.tell(PATH, &euros).await;
    let nowhere = format!("/v1/payments/{}/refunds", Uuid::nil());
    let nowhere = scene.tell(&nowhere, &refund("0.01")).await;

    assert_eq!(
        (above.status, foreign.status, nowhere.status),
        (422, 422, 404)
    );
    let detail = above.field("detail");
    assert!(detail.contains("only 0.00 USD"), "{detail}");
}
