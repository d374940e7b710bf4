//! What is set on an account, and what it was told.

use billing::ids::AccountId;
use billing::notice::{self, About, Wanted};
use outbox::Origin;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::client::{Answer, send};
use crate::sample::{Debt, closed};
use crate::scene::Scene;

async fn change(scene: &Scene, path: &str, body: &Value) -> Answer {
    scene
        .send(&send("PATCH", path, "", &body.to_string()))
        .await
}

#[tokio::test]
async fn an_address_is_set_changed_taken_away_and_announced() {
    let scene = Scene::new().await;
    let path = format!(
        "/v1/accounts/{}",
        scene.create("acme").await.field("account_id")
    );
    assert_eq!(scene.get(&path).await.json()["email"], Value::Null);

    let set = change(&scene, &path, &json!({ "email": "books@acme.example" })).await;
    let again = change(&scene, &path, &json!({ "email": "books@acme.example" })).await;

    assert_eq!(
        (set.status, set.field("email").as_str()),
        (200, "books@acme.example")
    );
    assert_eq!(again.body, set.body);
    let announced = "outbox.event where topic = 'account.changed'";
    assert_eq!(scene.count(announced).await, 1);
    let none = change(&scene, &path, &json!({ "email": null })).await;
    assert_eq!((none.status, &none.json()["email"]), (200, &Value::Null));
    assert_eq!(scene.count(announced).await, 2);
}

#[tokio::test]
async fn an_address_that_mail_could_not_go_to_is_refused() {
    let scene = Scene::new().await;
    scene.create("acme").await;
    let path = "/v1/accounts/acme";
    let set = json!({ "email": "books@acme.example" });
    assert_eq!(change(&scene, path, &set).await.status, 200);

    for (body, field) in [
        (json!({}), "email"),
        (json!({ "email": "" }), "email"),
        (json!({ "email": "nobody" }), "email"),
        (json!({ "email": "a@b\r\nBcc: c@d" }), "email"),
        (json!({ "email": 7 }), "email"),
        (json!({ "email": null, "name": "Beta" }), "name"),
        (json!({ "email": null, "held": false }), "held"),
    ] {
        let answer = change(&scene, path, &body).await;
        assert_eq!(
            (answer.status, answer.field("field").as_str()),
            (422, field),
            "{body}"
        );
    }
    assert_eq!(scene.get(path).await.field("email"), "books@acme.example");
    let nobody = change(&scene, "/v1/accounts/nobody", &set).await;
    assert_eq!(nobody.status, 404);
}

#[tokio::test]
async fn an_account_says_for_what_it_is_held() {
    let scene = Scene::new().await;
    let id = scene.create("acme").await.field("account_id");
    scene.create("beta").await;
    let account = |answer: &Answer| answer.json()["items"][0].clone();
    assert_eq!(account(&scene.get("/v1/accounts").await)["held"], false);

    // Placed as the workers do it: the row, and the event that announces it.
    let account_id = AccountId::from(id.parse::<Uuid>().unwrap());
    let event = outbox::NewEvent::new("hold.placed", 1, json!({}));
    let mut tx = scene.outbox.begin(Origin::of("tester")).await.unwrap();
    sqlx::query(
        "insert into billing.hold (hold_id, account_id, reason, cause, placed_at, announced_by)
        values (gen_random_uuid(), $1, 'manual', 'a call', now(), $2)",
    )
    .bind(Uuid::from(account_id))
    .bind(event.event_id)
    .execute(&mut *tx)
    .await
    .unwrap();
    let locked = tx.locked(account_id.into());
    tx.append(locked, event);
    tx.commit().await.unwrap();

    let held = account(&scene.get("/v1/accounts").await);
    assert_eq!(
        (
            &held["held"],
            &held["holds"][0]["reason"],
            &held["holds"][0]["cause"]
        ),
        (&json!(true), &json!("manual"), &json!("a call"))
    );
    assert_eq!(scene.get("/v1/accounts/acme").await.json(), held);
    assert_eq!(scene.get("/v1/accounts/beta").await.json()["held"], false);
}

#[tokio::test]
async fn notices_tell_what_was_suppressed_and_why() {
    let scene = closed().await;
    let debt = Debt::of(&scene).await;
    let notices = format!("{}/notices", debt.path());
    let before = scene.get(&notices).await.json();
    assert!(before["items"].as_array().unwrap().is_empty());

    let mut tx = scene.outbox.begin(Origin::of("tester")).await.unwrap();
    let wanted = [Wanted {
        account: debt.account,
        about: About::Invoice(debt.invoice),
    }];
    notice::intend_all(&mut tx, &wanted, "example.com")
        .await
        .unwrap();
    tx.commit().await.unwrap();

    let told = scene.get(&notices).await.json();
    let [notice] = told["items"].as_array().unwrap().as_slice() else {
        panic!("one notice: {told}");
    };
    assert_eq!(
        (&notice["kind"], &notice["state"]),
        (&json!("invoice"), &json!("suppressed"))
    );
    assert!(notice["suppressed"].is_string());
}
