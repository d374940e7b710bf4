//! Promise: usage that comes after its month was closed joins the next open month, marked with its
//! own; nothing is dropped.

use std::fs;

use rust_decimal::Decimal;
use serde_json::json;

use crate::scene::{Charge, Reckoning, Scene};

const VM: (&str, &str) = ("vm", "0.125");
const LINES: &str = "select concat_ws(' ', external_id, month, usage_month, quantity::float)
    from billing.line join billing.invoice using (invoice_id) order by 1";

/// The exact amount of every line.
async fn exact(scene: &Scene) -> Decimal {
    let sum = scene
        .texts("select sum(exact)::text from billing.line")
        .await;
    sum[0].parse().unwrap()
}

#[tokio::test]
async fn late_usage_joins_the_next_open_month_and_is_marked_with_its_own() {
    let scene = Scene::open().await;
    let in_time = scene.usage("1.csv", &[Charge::new((1, "2024-09"), "acme", VM, 8)]);
    scene.close(&format!("--usage {in_time}")).await;

    let late = [
        Charge::new((2, "2024-09"), "acme", VM, "1.7"),
        Charge::new((3, "2024-10"), "acme", VM, 4),
    ];
    let late = scene.usage("2.csv", &late);
    let october = scene.close(&format!("--usage {late}")).await;

    assert_eq!(
        (&october["period"], &october["lines"]),
        (&json!("2024-10"), &json!(2))
    );
    let lines = [
        "acme 2024-09-01 2024-09-01 8",
        "acme 2024-10-01 2024-09-01 1.7",
        "acme 2024-10-01 2024-10-01 4",
    ];
    assert_eq!(scene.texts(LINES).await, lines);
    let mut used = Reckoning::of(in_time);
    used.add(late);
    assert_eq!(exact(&scene).await, used.exact());
    let number = &scene.report("2024-10")[0].number;
    let documents = scene.documents();
    let document = documents
        .iter()
        .find(|path| path.ends_with(format!("{number}.html")))
        .unwrap();
    assert!(
        fs::read_to_string(document)
            .unwrap()
            .contains("September 2024")
    );
}

#[tokio::test]
async fn usage_of_a_closed_month_for_an_account_that_was_not_there_is_billed_for_that_month() {
    let scene = Scene::open().await;
    let first = scene.usage("1.csv", &[Charge::new((1, "2024-09"), "acme", VM, 8)]);
    scene.close(&format!("--usage {first}")).await;

    let newcomer = scene.usage("2.csv", &[Charge::new((2, "2024-09"), "newcomer", VM, 16)]);
    let again = scene.close(&format!("--usage {newcomer}")).await;

    assert_eq!(
        (&again["period"], &again["accounts"]),
        (&json!("2024-09"), &json!(2))
    );
    assert_eq!(again["invoiced"], json!({ "USD": "3.00" }));
    let lines = [
        "acme 2024-09-01 2024-09-01 8",
        "newcomer 2024-09-01 2024-09-01 16",
    ];
    assert_eq!(scene.texts(LINES).await, lines);
}

#[tokio::test]
async fn the_same_file_twice_bills_it_once() {
    let scene = Scene::open().await;
    let charges = [("a", 3), ("b", 5)];
    let charges = charges.map(|(id, used)| Charge::new((id, "2024-09"), "acme", VM, used));
    let import = format!("--usage {}", scene.usage("1.csv", &charges));
    let first = scene.close(&import).await;

    let again = scene
        .month_close(&import)
        .with(["--json"])
        .run()
        .await
        .exits(0);

    again.json();
    let again = again
        .says(&["2 rows of 1 accounts (0 new, 2 repeated)"])
        .json();
    assert_eq!(
        (&again["invoiced"], &again["events"]["appended"]),
        (&first["invoiced"], &json!(0))
    );
}
