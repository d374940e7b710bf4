//! Never more is given back than was taken.

use axum::http::StatusCode;

use crate::scene::gateway;

#[tokio::test]
async fn a_refund_is_made_once_however_often_it_is_sent() {
    let scene = gateway().await;
    let id = scene.caller.captured("a-1").await;

    let first = scene.caller.refund("r-1", &id, 500).await;
    let again = scene.caller.refund("r-1", &id, 500).await;

    assert_eq!(first.status, StatusCode::CREATED);
    assert_eq!(first.json()["status"], "succeeded");
    assert_eq!(first.json()["charge_id"], id.as_str());
    assert_eq!(first.json()["currency"], "USD");
    assert_eq!(again, first);
    assert_eq!(
        scene.caller.charges_of("a-1").await[0]["refunded_minor"],
        500
    );
    let found = scene.caller.get("/v1/refunds?reference=r-1").await;
    assert_eq!(found["refunds"][0], first.json());
}

#[tokio::test]
async fn refunds_end_where_the_charge_ends() {
    let scene = gateway().await;
    let id = scene.caller.captured("a-1").await;

    let whole = scene.caller.refund("r-1", &id, 1201).await;
    let more = scene.caller.refund("r-2", &id, 1).await;

    assert_eq!(whole.status, StatusCode::CREATED);
    assert_eq!(more.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(more.error(), "refund_above_captured");
}

#[tokio::test]
async fn twenty_refunds_at_once_give_back_no_more_than_was_taken() {
    let scene = gateway().await;
    let id = scene.caller.captured("a-1").await;

    let calls: Vec<_> = (0..20)
        .map(|n| {
            let (caller, id) = (scene.caller.clone(), id.clone());
            tokio::spawn(async move { caller.refund(&format!("r-{n}"), &id, 100).await })
        })
        .collect();
    let mut made = 0;
    for call in calls {
        made += usize::from(call.await.unwrap().status == StatusCode::CREATED);
    }

    assert_eq!(made, 12);
    assert_eq!(
        scene.caller.charges_of("a-1").await[0]["refunded_minor"],
        1200
    );
}

#[tokio::test]
async fn only_what_was_captured_can_be_refunded() {
    let scene = gateway().await;
    let declined = scene.caller.charge("a-1", "tok_decline").await.json();
    let half = scene.caller.charge("a-2", "tok_wrong_amount").await.json();
    let id = |charge: &serde_json::Value| charge["charge_id"].as_str().unwrap().to_owned();

    let of_declined = scene.caller.refund("r-1", &id(&declined), 1).await;
    let of_half = scene.caller.refund("r-2", &id(&half), 1201).await;
    let of_none = scene.caller.refund("r-3", "ch_0000009999", 1).await;

    assert_eq!(of_declined.error(), "refund_above_captured");
    assert_eq!(of_half.error(), "refund_above_captured");
    assert_eq!(of_none.status, StatusCode::NOT_FOUND);
}
