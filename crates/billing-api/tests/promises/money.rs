//! Money by hand, and credit: told once or five times, it moves once.

use futures::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::client::Answer;
use crate::sample::{Debt, closed};
use crate::scene::Scene;

const ID: &str = "0192f3a1-0000-7000-8000-000000000001";

fn credit(amount: &str) -> Value {
    json!({ "amount": amount, "currency": "EUR", "reason": "an outage" })
}

fn status(answers: &[Answer], status: u16) -> usize {
    answers
        .iter()
        .filter(|answer| answer.status == status)
        .count()
}

#[tokio::test]
async fn a_payment_by_hand_pays_its_invoice_once_however_often_it_is_told() {
    let scene = closed().await;
    let debt = Debt::of(&scene).await;
    let payments = format!("{}/payments", debt.path());
    let body = json!({
        "payment_id": ID, "invoice": Uuid::from(debt.invoice), "amount": debt.due(),
        "currency": "USD", "note": "transfer 7",
    });

    let answers = join_all((0..5).map(|_| scene.tell(&payments, &body))).await;
    let late = scene.tell(&payments, &body).await;

    assert_eq!((status(&answers, 201), status(&answers, 200)), (1, 4));
    assert_eq!(late.status, 200);
    assert!(answers.iter().all(|answer| answer.body == late.body));
    let transfers = "billing.transfer where source_kind like 'payment%'";
    assert_eq!(scene.count(transfers).await, 1);
    let invoice = format!("/v1/invoices/{}", Uuid::from(debt.invoice));
    let invoice = scene.get(&invoice).await.json();
    assert_eq!(invoice["state"], "paid");
    assert_eq!(
        (&invoice["settled"], &invoice["due"]),
        (&json!(debt.due()), &json!("0.00"))
    );
    assert_eq!(invoice["payments"][0]["payment_id"], ID);
    let listed = scene.get(&payments).await.json();
    assert_eq!(listed["items"][0]["applied_minor"], debt.due_minor);
}

#[tokio::test]
async fn an_id_in_other_words_is_a_conflict() {
    let scene = Scene::new().await;
    let path = |answer: &Answer| format!("/v1/accounts/{}", answer.field("account_id"));
    let ours = path(&scene.create("acme").await);
    let theirs = path(&scene.create("beta").await);
    for (route, id, note) in [
        ("payments", "payment_id", "note"),
        ("credits", "credit_id", "reason"),
    ] {
        let first = json!({ id: ID, "amount": "5.00", "currency": "EUR", note: "one" });
        let created = scene.tell(&format!("{ours}/{route}"), &first).await;
        assert_eq!(created.status, 201);
        for (field, value) in [("amount", "5.01"), (note, "two")] {
            let mut other = first.clone();
            other[field] = json!(value);
            let answer = scene.tell(&format!("{ours}/{route}"), &other).await;
            assert_eq!(answer.status, 409, "{field}");
        }
        let answer = scene.tell(&format!("{theirs}/{route}"), &first).await;
        assert_eq!(answer.status, 409, "another account");
        let again = scene.tell(&format!("{ours}/{route}"), &first).await;
        assert_eq!((again.status, &again.body), (200, &created.body));
    }
    assert_eq!(scene.get(&ours).await.field("credit"), "10.00");
    assert_eq!(scene.get(&theirs).await.field("credit"), "0.00");
}

#[tokio::test]
async fn credit_is_granted_once_and_asks_for_the_open_invoices_to_be_paid() {
    let scene = closed().await;
    let debt = Debt::of(&scene).await;
    let credits = format!("{}/credits", debt.path());
    let body = json!({
        "credit_id": ID, "amount": debt.due(), "currency": "USD", "reason": "an outage",
    });

    let answers = join_all((0..5).map(|_| scene.tell(&credits, &body))).await;

    assert_eq!((status(&answers, 201), status(&answers, 200)), (1, 4));
    let account = scene.get(&debt.path()).await.json();
    assert_eq!(
        (&account["credit"], &account["credit_minor"]),
        (&json!(debt.due()), &json!(debt.due_minor))
    );
    let wanted = format!(
        "outbox.event where topic = 'payment.wanted' and payload->>'invoice_id' = '{}'",
        Uuid::from(debt.invoice)
    );
    assert_eq!(scene.count(&wanted).await, 1);
    let listed = scene.get(&credits).await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn an_amount_that_would_have_to_be_guessed_is_refused() {
    let scene = Scene::new().await;
    let id = scene.create("acme").await.field("account_id");
    let mut tried = Vec::new();
    for amount in [
        "",
        "-1.00",
        "0.00",
        "1.234",
        "1e3",
        "1,00",
        "92233720368547758.08",
    ] {
        tried.push((credit(amount), "amount"));
    }
    let mut other = |field: &str, value: Value, named: &'static str| {
        let mut body = credit("1.00");
        body[field] = value;
        tried.push((body, named));
    };
    other("amount", json!(1.5), "amount");
    other("currency", json!("USD"), "currency");
    other("currency", json!("XXX"), "currency");
    other("reason", json!(""), "reason");
    other("reason", json!("a\nb"), "reason");
    other("credit_id", json!("nope"), "credit_id");
    other("granted_at", json!("2024-01-01T00:00:00Z"), "granted_at");
    for (body, field) in tried {
        let answer = scene
            .tell(&format!("/v1/accounts/{id}/credits"), &body)
            .await;
        assert_eq!(
            (answer.status, answer.field("field").as_str()),
            (422, field),
            "{body}"
        );
    }
    assert_eq!(scene.count("billing.credit").await, 0);
    for (field, value) in [("invoice", "INV-000001"), ("note", ""), ("payment_id", "x")] {
        let mut body = json!({ "amount": "1.00", "currency": "EUR", "note": "cash" });
        body[field] = json!(value);
        let answer = scene
            .tell(&format!("/v1/accounts/{id}/payments"), &body)
            .await;
        assert_eq!(
            (answer.status, answer.field("field").as_str()),
            (422, field)
        );
    }
    assert_eq!(scene.count("billing.payment").await, 0);
}

#[tokio::test]
async fn a_sum_that_does_not_fit_is_refused_and_nothing_of_it_stays() {
    let scene = Scene::new().await;
    let id = scene.create("acme").await.field("account_id");
    let credits = format!("/v1/accounts/{id}/credits");
    let most = credit("92233720368547758.07");
    assert_eq!(scene.tell(&credits, &most).await.status, 201);

    let answer = scene.tell(&credits, &credit("0.01")).await;

    assert_eq!(
        (answer.status, answer.field("field")),
        (422, "amount".to_owned())
    );
    assert_eq!(scene.count("billing.credit").await, 1);
}

#[tokio::test]
async fn lists_of_money_come_newest_first_and_in_pieces() {
    let scene = Scene::new().await;
    let id = scene.create("acme").await.field("account_id");
    for (route, note) in [("payments", "note"), ("credits", "reason")] {
        let list = format!("/v1/accounts/{id}/{route}");
        for amount in ["1.00", "2.00", "3.00"] {
            let body = json!({ "amount": amount, "currency": "EUR", note: "one of three" });
            assert_eq!(scene.tell(&list, &body).await.status, 201);
        }
        let first = scene.get(&format!("{list}?limit=2")).await.json();
        let next = first["next"].as_str().unwrap();
        let rest = scene.get(&format!("{list}?after={next}")).await.json();
        let amounts = [&first, &rest].map(|page| {
            let items = page["items"].as_array().unwrap().iter();
            items.map(|item| item["amount"].clone()).collect::<Vec<_>>()
        });
        assert_eq!(amounts.concat(), ["3.00", "2.00", "1.00"]);
        assert_eq!(rest["next"], Value::Null);
    }
}
