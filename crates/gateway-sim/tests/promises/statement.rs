//! The statement holds every movement of money once, in order, and its totals are their sums.

use serde_json::{Value, json};

use crate::caller::{Caller, order};
use crate::scene::gateway;

async fn charge_in(caller: &Caller, key: &str, currency: &str, amount_minor: i64) -> String {
    let mut body = order(key, "tok_approve");
    body["currency"] = json!(currency);
    body["amount_minor"] = json!(amount_minor);
    let charge = caller.post("/v1/charges", key, &body).await.json();
    charge["charge_id"].as_str().unwrap().to_owned()
}

fn list<'a>(statement: &'a Value, name: &str) -> Vec<&'a Value> {
    statement[name].as_array().unwrap().iter().collect()
}

#[tokio::test]
async fn totals_are_kept_per_currency() {
    let scene = gateway().await;
    let caller = &scene.caller;
    let dollars = charge_in(caller, "a-1", "USD", 1000).await;
    charge_in(caller, "a-2", "JPY", 77).await;
    charge_in(caller, "a-3", "USD", 234).await;
    caller.charge("a-4", "tok_decline").await;
    caller.refund("r-1", &dollars, 400).await;

    let statement = caller.get("/v1/statement").await;

    let kinds: Vec<_> = list(&statement, "movements")
        .iter()
        .map(|movement| (movement["type"].clone(), movement["amount_minor"].clone()))
        .collect();
    let expected = [
        ("captured", 1000),
        ("captured", 77),
        ("captured", 234),
        ("refunded", 400),
    ];
    assert_eq!(
        kinds,
        expected.map(|(kind, amount)| (json!(kind), json!(amount)))
    );
    let totals = json!([
        {
            "currency": "JPY", "captured_count": 1, "captured_minor": 77,
            "refunded_count": 0, "refunded_minor": 0, "net_minor": 77,
        },
        {
            "currency": "USD", "captured_count": 2, "captured_minor": 1234,
            "refunded_count": 1, "refunded_minor": 400, "net_minor": 834,
        },
    ]);
    assert_eq!(statement["totals"], totals);
    assert_eq!(statement["next_after"], Value::Null);
}

#[tokio::test]
async fn page_after_page_shows_each_movement_once() {
    let scene = gateway().await;
    for n in 0..7 {
        charge_in(&scene.caller, &format!("a-{n}"), "USD", 100 + n).await;
    }

    let mut amounts = Vec::new();
    let mut pages = 0;
    let mut path = "/v1/statement?limit=3".to_owned();
    loop {
        let page = scene.caller.get(&path).await;
        pages += 1;
        assert_eq!(page.get("totals").is_some(), pages == 1);
        let shown = list(&page, "movements");
        amounts.extend(shown.iter().map(|m| m["amount_minor"].as_i64().unwrap()));
        let Some(after) = page["next_after"].as_i64() else {
            break;
        };
        path = format!("/v1/statement?limit=3&after={after}");
    }

    assert_eq!(amounts, (100..107).collect::<Vec<_>>());
    assert_eq!(pages, 3);
}

#[tokio::test]
async fn a_span_begins_with_from_and_ends_before_to() {
    let scene = gateway().await;
    for n in 0..5 {
        charge_in(&scene.caller, &format!("a-{n}"), "USD", 100).await;
    }
    let all = scene.caller.get("/v1/statement").await;
    let times: Vec<&str> = list(&all, "movements")
        .iter()
        .map(|movement| movement["at"].as_str().unwrap())
        .collect();
    assert!(times.is_sorted());

    let (from, to) = (times[1], times[4]);
    let span = scene
        .caller
        .get(&format!("/v1/statement?from={from}&to={to}"))
        .await;

    let inside = |at: &&&str| **at >= from && **at < to;
    let expected = times.iter().filter(inside).count();
    assert_eq!(list(&span, "movements").len(), expected);
    let counted = span["totals"][0]["captured_count"].as_u64();
    assert_eq!(counted.unwrap_or(0), u64::try_from(expected).unwrap());
}
