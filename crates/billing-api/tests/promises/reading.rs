//! A closed month, read over HTTP.

use billing::money::{Currency, Money};
use billing::report::{self, Fact, Finalized};
use outbox::Origin;
use rust_decimal::Decimal;
use serde_json::Value;

use crate::sample::{closed, september};
use crate::scene::Scene;

/// All invoices of a query, page by page.
async fn invoices(scene: &Scene, query: &str) -> Vec<Value> {
    let mut invoices = Vec::new();
    let mut after = String::new();
    loop {
        let page = scene
            .get(&format!("/v1/invoices?limit=25{query}{after}"))
            .await
            .json();
        invoices.extend(page["items"].as_array().unwrap().iter().cloned());
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return invoices,
        }
    }
}

fn decimal(value: &Value) -> Decimal {
    value.as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_closed_month_reads_to_the_cent() {
    let scene = closed().await;

    let september = invoices(&scene, "&month=2024-09").await;

    assert_eq!(september.len(), 66);
    let total: Decimal = september
        .iter()
        .map(|invoice| decimal(&invoice["total"]))
        .sum();
    assert_eq!(total.to_string(), "10.07");
    assert!(invoices(&scene, "&month=2024-10").await.is_empty());
    let longest = september
        .iter()
        .max_by_key(|invoice| invoice["line_count"].as_i64())
        .unwrap();
    let number = longest["number"].as_str().unwrap();
    let whole = scene.get(&format!("/v1/invoices/{number}")).await.json();
    let lines = whole["lines"].as_array().unwrap();
    assert_eq!(lines.len() as i64, longest["line_count"].as_i64().unwrap());
    let sum: Decimal = lines.iter().map(|line| decimal(&line["amount"])).sum();
    assert_eq!(sum, decimal(&whole["total"]));
}

#[tokio::test]
async fn an_invoice_is_found_by_its_number_its_id_and_its_account() {
    let scene = closed().await;
    let first = scene.get("/v1/invoices/INV-000001").await;

    let id = first.field("invoice_id");
    let account = first.field("account_id");

    assert_eq!(
        scene.get(&format!("/v1/invoices/{id}")).await.body,
        first.body
    );
    let of_account = invoices(&scene, &format!("&account={account}")).await;
    assert_eq!(of_account.len(), 1);
    assert_eq!(of_account[0]["number"], "INV-000001");
    for absent in ["INV-000000", "INV-1", "INV-999999", "acme", "INV-000001%00"] {
        assert_eq!(
            scene.get(&format!("/v1/invoices/{absent}")).await.status,
            404,
            "{absent}"
        );
    }
    let unknown = scene.get("/v1/invoices?account=nobody").await;
    assert_eq!(
        (unknown.status, unknown.field("field")),
        (422, "account".to_owned())
    );
}

#[tokio::test]
async fn the_document_is_the_page_that_the_customer_gets() {
    let scene = closed().await;
    let invoice = scene.get("/v1/invoices/INV-000001").await;

    let page = scene.get("/v1/invoices/INV-000001/document").await;

    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert!(
        page.header("content-security-policy")
            .unwrap()
            .contains("sandbox")
    );
    let id = invoice.field("invoice_id").parse::<uuid::Uuid>().unwrap();
    let mut connection = scene.db.pool.acquire().await.unwrap();
    let frozen = billing::document::load(&mut connection, id.into())
        .await
        .unwrap();
    assert_eq!(page.body, billing::document::render(&frozen));
}

#[tokio::test]
async fn history_tells_what_was_billed_by_whom_and_why() {
    let scene = closed().await;
    let account = scene
        .get("/v1/invoices/INV-000001")
        .await
        .field("account_id");

    let first = scene
        .get(&format!("/v1/accounts/{account}/history?limit=1"))
        .await
        .json();
    let next = first["next"].as_str().unwrap();
    let rest = scene
        .get(&format!("/v1/accounts/{account}/history?after={next}"))
        .await
        .json();

    assert_eq!(first["items"][0]["topic"], "account.created");
    assert_eq!(rest["items"][0]["topic"], "invoice.finalized");
    assert_eq!(rest["items"][0]["actor"], "Ada");
    assert_eq!(rest["items"][0]["reason"], "a test");
    assert_eq!(rest["next"], Value::Null);
}

#[tokio::test]
async fn a_report_has_the_figures_that_were_counted() {
    let scene = Scene::new().await;
    let mut tx = scene.outbox.begin(Origin::of("tester")).await.unwrap();
    let total = Money::new(1_234_500, Currency::parse("JPY").unwrap());
    let finalized = Finalized {
        month: september(),
        total,
        credit: Money::zero(total.currency()),
        lines: 3,
        is_paid: false,
    };
    report::count(&mut tx, &[(Fact::Finalized(finalized), 0)])
        .await
        .unwrap();
    tx.commit().await.unwrap();

    let report = scene.get("/v1/reports/2024-09").await.json();

    let figures = &report["currencies"][0];
    assert_eq!(
        (&figures["invoiced"], &figures["currency"]),
        (&"1234500".into(), &"JPY".into())
    );
    assert_eq!(
        (&figures["invoices"], &figures["open"]),
        (&1.into(), &1.into())
    );
}

#[tokio::test]
async fn health_tells_what_is_still_to_do() {
    let scene = Scene::new().await;
    scene.create("acme").await;

    let health = scene.get("/healthz").await;

    assert_eq!(
        (health.status, health.field("status")),
        (200, "ok".to_owned())
    );
    assert_eq!(health.json()["pending_events"], 1);
    let names: Vec<_> = billing_workers::names();
    assert_eq!(
        health.json()["consumers"].as_array().unwrap().len(),
        names.len()
    );
}

#[tokio::test]
async fn health_is_bad_when_the_database_is_gone() {
    let scene = Scene::new().await;
    scene.outbox.pool().close().await;

    let health = scene.get("/healthz").await;

    assert_eq!(
        (health.status, health.field("status")),
        (503, "down".to_owned())
    );
    let accounts = scene.get("/v1/accounts").await;
    assert_eq!(
        (accounts.status, accounts.header("retry-after")),
        (503, Some("1"))
    );
}
