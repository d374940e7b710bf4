//! Webhooks: believed when proved, applied once, whoever tells first.

use std::collections::BTreeSet;

use billing::gateway::{Charge, Gateway as _, Verdict};
use billing::ids::PaymentId;
use billing::money::{Currency, Money};
use billing::payment::{self, Outcome};
use billing_workers::gateways::House;
use futures::future::join_all;
use gateway_sim::GatewaySim;
use outbox::{Origin, clock};
use serde_json::json;
use testkit::until;
use uuid::Uuid;

use crate::sample::{Debt, closed};
use crate::scene::{OTHER_SECRET, PATIENCE, SECRET, Scene};
use crate::signed::{Signed, captured, declined};

/// What the worker records when the response comes.
async fn response(scene: &Scene, payment: PaymentId, minor: i64) {
    let captured = Verdict::Captured {
        gateway_ref: "ch_1".to_owned(),
        money: Money::new(minor, Currency::parse("USD").unwrap()),
    };
    let mut tx = scene.outbox.begin(Origin::of("worker")).await.unwrap();
    let outcomes = [(payment, Outcome::Verdict(captured))];
    payment::settle_all(&mut tx, &outcomes, clock::now())
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

/// State of the invoice; events, transfers and kept webhooks of payments.
async fn world(scene: &Scene, debt: Debt) -> (String, i64, i64, i64) {
    let invoice = format!("/v1/invoices/{}", Uuid::from(debt.invoice));
    (
        scene.get(&invoice).await.field("state"),
        scene
            .count("outbox.event where topic = 'payment.succeeded'")
            .await,
        scene
            .count("billing.transfer where source_kind like 'payment%'")
            .await,
        scene.count("billing.gateway_webhook").await,
    )
}

fn paid_once(webhooks: i64) -> (String, i64, i64, i64) {
    ("paid".to_owned(), 1, 1, webhooks)
}

#[tokio::test]
async fn a_webhook_before_the_response_pays_and_the_response_changes_nothing() {
    let scene = closed().await;
    let debt = Debt::of(&scene).await;
    let payment = debt.charged(&scene).await;

    let told = Signed::capture("evt_1", payment, debt.due_minor);
    assert_eq!(scene.send(&told.request()).await.status, 200);
    assert_eq!(world(&scene, debt).await, paid_once(1));
    response(&scene, payment, debt.due_minor).await;

    assert_eq!(world(&scene, debt).await, paid_once(1));
    let actor = "outbox.event where topic = 'payment.succeeded' and actor = 'gateway house'";
    assert_eq!(scene.count(actor).await, 1);
}

#[tokio::test]
async fn the_response_before_its_webhooks_pays_and_they_change_nothing() {
    let scene = closed().await;
    let debt = Debt::of(&scene).await;
    let payment = debt.charged(&scene).await;
    assert_eq!(world(&scene, debt).await.0, "finalized");

    response(&scene, payment, debt.due_minor).await;
    for event in ["evt_1", "evt_1", "evt_2"] {
        let told = Signed::capture(event, payment, debt.due_minor);
        assert_eq!(scene.send(&told.request()).await.status, 200);
    }

    assert_eq!(world(&scene, debt).await, paid_once(2));
}

/// All orders of some letters; equal ones are not told apart.
fn orders(letters: &str) -> BTreeSet<String> {
    let Some(last) = letters.chars().last() else {
        return BTreeSet::from([String::new()]);
    };
    let shorter = orders(&letters[..letters.len() - last.len_utf8()]);
    let longer = shorter.iter().flat_map(|order| {
        (0..=order.len()).map(move |at| format!("{}{last}{}", &order[..at], &order[at..]))
    });
    longer.collect()
}

#[tokio::test]
async fn in_whatever_order_a_capture_is_told_it_pays_once() {
    let scene = closed().await;
    let debts = Debt::all(&scene).await;
    // Two answers to the worker (r), a webhook twice (a), another one of the same charge (b).
    let orders = orders("rraab");
    assert_eq!(orders.len(), 30);
    assert!(debts.len() >= orders.len());
    for (order, debt) in orders.iter().zip(debts) {
        let payment = debt.charged(&scene).await;
        for teller in order.chars() {
            if teller == 'r' {
                response(&scene, payment, debt.due_minor).await;
                continue;
            }
            let event = format!("evt_{order}_{teller}");
            let told = Signed::capture(&event, payment, debt.due_minor);
            assert_eq!(scene.send(&told.request()).await.status, 200, "{order}");
        }
        let id = Uuid::from(payment);
        let announced = "topic = 'payment.succeeded' and payload->>'payment_id'";
        for (once, of) in [
            (1, format!("billing.transfer where source_id = '{id}'")),
            (1, format!("outbox.event where {announced} = '{id}'")),
            (
                2,
                format!("billing.gateway_webhook where payment_id = '{id}'"),
            ),
        ] {
            assert_eq!(scene.count(&of).await, once, "{order}: {of}");
        }
        let invoice = format!("/v1/invoices/{}", Uuid::from(debt.invoice));
        assert_eq!(scene.get(&invoice).await.field("state"), "paid", "{order}");
    }
}

#[tokio::test]
async fn a_webhook_that_comes_five_times_at_once_with_the_response_pays_once() {
    let scene = closed().await;
    let debt = Debt::of(&scene).await;
    let payment = debt.charged(&scene).await;
    let told = Signed::capture("evt_1", payment, debt.due_minor).request();

    let five = join_all((0..5).map(|_| scene.send(&told)));
    let (answers, ()) = tokio::join!(five, response(&scene, payment, debt.due_minor));

    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(world(&scene, debt).await, paid_once(1));
}

#[tokio::test]
async fn a_decline_told_after_the_capture_takes_nothing_back() {
    let scene = closed().await;
    let debt = Debt::of(&scene).await;
    let payment = debt.charged(&scene).await;
    let told = Signed::capture("evt_1", payment, debt.due_minor);
    assert_eq!(scene.send(&told.request()).await.status, 200);

    let late = Signed::new(&declined("evt_2", payment));
    assert_eq!(scene.send(&late.request()).await.status, 200);

    assert_eq!(world(&scene, debt).await, paid_once(2));
}

#[tokio::test]
async fn no_byte_of_a_webhook_may_differ_from_what_was_signed() {
    let scene = closed().await;
    let debt = Debt::of(&scene).await;
    let payment = debt.charged(&scene).await;
    let told = Signed::capture("evt_1", payment, debt.due_minor);
    let headers = told.headers();

    for at in 0..told.body.len() {
        let mut body = told.body.clone();
        body[at] ^= 1;
        let answer = scene.send(&told.request_with(&headers, &body)).await;
        assert_eq!(answer.status, 401, "byte {at}");
    }
    let cut = &told.body[..told.body.len() - 1];
    assert_eq!(
        scene.send(&told.request_with(&headers, cut)).await.status,
        401
    );
    assert_eq!(world(&scene, debt).await, ("finalized".to_owned(), 0, 0, 0));

    assert_eq!(scene.send(&told.request()).await.status, 200);
    assert_eq!(world(&scene, debt).await, paid_once(1));
}

#[tokio::test]
async fn a_webhook_is_good_for_five_minutes_either_way() {
    let scene = Scene::new().await;
    let unknown = Signed::capture("evt_1", PaymentId::new(), 100);

    for seconds in [-3600, -301, 302, 3600] {
        let replayed = unknown.clone().seconds_later(seconds);
        let status = scene.send(&replayed.request()).await.status;
        assert_eq!(status, 401, "{seconds} s");
    }
    assert_eq!(scene.count("billing.gateway_webhook").await, 0);

    for seconds in [-290, 290] {
        let skewed = unknown.clone().seconds_later(seconds);
        let status = scene.send(&skewed.request()).await.status;
        assert_eq!(status, 200, "{seconds} s");
    }
}

#[tokio::test]
async fn who_cannot_prove_who_they_are_learn_nothing() {
    let scene = Scene::new().await;
    let good = Signed::capture("evt_1", PaymentId::new(), 100);
    let others = Signed {
        secret: OTHER_SECRET,
        ..good.clone()
    };
    let old = good.clone().seconds_later(-301);
    let (sent, signature) = (good.at.timestamp(), good.signature());
    let mut answers = Vec::new();
    for headers in [
        String::new(),
        format!("Gateway-Timestamp: {sent}\r\n"),
        format!("Gateway-Signature: {signature}\r\n"),
        format!("Gateway-Timestamp: soon\r\nGateway-Signature: {signature}\r\n"),
        format!("Gateway-Timestamp: {sent}\r\nGateway-Signature: v1=00\r\n"),
        others.headers(),
        old.headers(),
    ] {
        answers.push(scene.send(&good.request_with(&headers, &good.body)).await);
    }
    // Nor does it matter whether what they send could be read, or was there before.
    answers.push(
        scene
            .send(&good.request_with(&others.headers(), b"{"))
            .await,
    );

    for answer in &answers {
        assert_eq!(
            (answer.status, &answer.body),
            (401, &answers[0].body),
            "{answer:?}"
        );
        assert!(answer.header("www-authenticate").is_some());
    }
    assert_eq!(scene.count("billing.gateway_webhook").await, 0);
    assert_eq!(scene.send(&good.request()).await.status, 200);
}

#[tokio::test]
async fn a_gateway_tells_of_its_own_payments_alone() {
    let scene = closed().await;
    let debt = Debt::of(&scene).await;
    let payment = debt.charged(&scene).await;
    let genuine = Signed::capture("evt_1", payment, debt.due_minor);
    let others = Signed {
        gateway: "other",
        secret: OTHER_SECRET,
        ..genuine.clone()
    };
    let nobodys = Signed {
        gateway: "nobody",
        ..genuine.clone()
    };

    assert_eq!(scene.send(&nobodys.request()).await.status, 404);
    assert_eq!(scene.send(&others.request()).await.status, 200);

    assert_eq!(world(&scene, debt).await, ("finalized".to_owned(), 0, 0, 1));
    assert_eq!(scene.send(&genuine.request()).await.status, 200);
    assert_eq!(world(&scene, debt).await, paid_once(2));
}

#[tokio::test]
async fn a_webhook_about_a_charge_that_we_do_not_know_is_kept() {
    let scene = Scene::new().await;
    let told = Signed::capture("evt_1", PaymentId::new(), 100);
    let mut foreign = captured("evt_2", PaymentId::new(), 100);
    foreign["data"]["charge"]["reference"] = json!("order 7");
    let foreign = Signed::new(&foreign);

    assert_eq!(scene.send(&told.request()).await.status, 200);
    assert_eq!(scene.send(&foreign.request()).await.status, 200);

    let kept = "billing.gateway_webhook where payment_id is null and outcome = 'unknown charge'";
    assert_eq!(scene.count(kept).await, 2);
    let bytes: Vec<u8> =
        sqlx::query_scalar("select body from billing.gateway_webhook where webhook_id = 'evt_1'")
            .fetch_one(&scene.db.pool)
            .await
            .unwrap();
    assert_eq!(bytes, told.body);
}

#[tokio::test]
async fn a_genuine_webhook_that_cannot_be_read_is_refused_and_one_of_another_kind_is_kept() {
    let scene = Scene::new().await;

    for body in [json!(null), json!({}), json!({ "event_id": "evt\u{0}1" })] {
        let answer = scene.send(&Signed::new(&body).request()).await;
        assert_eq!(answer.status, 422, "{body}");
    }
    assert_eq!(scene.count("billing.gateway_webhook").await, 0);

    let other = json!({ "event_id": "evt_1", "type": "payout.sent", "data": {} });
    assert_eq!(scene.send(&Signed::new(&other).request()).await.status, 200);
    let kept = "billing.gateway_webhook where outcome = 'aside'";
    assert_eq!(scene.count(kept).await, 1);
}

#[tokio::test]
async fn a_webhook_of_ten_megabytes_is_not_taken_in() {
    let scene = Scene::new().await;
    let huge = Signed {
        body: vec![b' '; 10 << 20],
        ..Signed::new(&json!({}))
    };

    assert_eq!(scene.send(&huge.request()).await.status, 413);
    assert_eq!(scene.count("billing.gateway_webhook").await, 0);
}

#[tokio::test]
async fn the_simulators_webhook_pays_an_invoice_whose_response_was_lost() {
    let scene = closed().await;
    let debt = Debt::of(&scene).await;
    let payment = debt.charged(&scene).await;
    let folder = tempfile::tempdir().unwrap();
    let receiver = format!("http://{}/v1/gateways/house/webhooks", scene.address);
    let sim = GatewaySim::at(folder.path()).webhook(&receiver, SECRET);
    let sim = sim.start().await.unwrap();

    let charge = Charge {
        payment,
        token: "tok_approve".to_owned(),
        money: Money::new(debt.due_minor, Currency::parse("USD").unwrap()),
        description: "September".to_owned(),
    };
    let house = House::of_simulator(sim.address());
    drop(house.charge(&charge).await.unwrap());

    until("the payment", PATIENCE, async || {
        (world(&scene, debt).await == paid_once(1)).then_some(())
    })
    .await
    .unwrap();
    sim.stop().await;
}
