//! Promise: the first command, on a machine with nothing set up, closes a month of real usage to
//! the cent, says so, and does it once.

use std::collections::BTreeMap;
use std::fs;

use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::scene::{Reckoning, Scene, cents, workspace};

const SAMPLE: &str = "samples/focus/focus_2024-09.csv";

fn reckoned() -> Reckoning {
    Reckoning::of(workspace().join(SAMPLE))
}

/// `{"USD": "0.01"}` per account, as numbers.
fn by_account(printed: &Value) -> BTreeMap<String, Decimal> {
    let accounts = printed["by_account"].as_object().unwrap().iter();
    let sum = |sums: &Value| sums["USD"].as_str().unwrap().parse().unwrap();
    accounts
        .map(|(account, sums)| (account.clone(), sum(sums)))
        .collect()
}

#[tokio::test]
async fn a_newcomers_first_run_closes_the_sample_to_the_cent_and_the_second_changes_nothing() {
    let scene = Scene::bare();

    let first = scene.close("--by-account").await;
    let second = scene.close("--by-account").await;

    assert_eq!(by_account(&first), reckoned().totals());
    assert_eq!(first["period"], "2024-09");
    assert_eq!(first["accounts"], 66);
    assert_eq!(
        first["invoices"],
        json!({ "final": 66, "paid": 54, "zero": 27, "open": 12 })
    );
    assert_eq!(first["lines"], 373);
    assert_eq!(first["invoiced"], json!({ "USD": "10.07" }));
    assert_eq!(first["collected"], json!({ "USD": "8.36" }));
    assert_eq!(first["declined"], json!({ "USD": "1.51" }));
    assert_eq!(
        (&first["held"], &first["exceptions"]),
        (&json!(4), &json!(0))
    );
    assert_eq!(first["events"]["published"], first["events"]["appended"]);
    assert_eq!(second["events"]["appended"], 0);
    let month = [
        "period",
        "accounts",
        "invoices",
        "lines",
        "invoiced",
        "collected",
        "declined",
        "held",
        "notices",
        "by_account",
        "checks",
    ];
    for figure in month {
        assert_eq!(second[figure], first[figure], "{figure}");
    }
}

/// What the tests expect stands in the file, and another way to round would not give it.
#[test]
fn the_samples_figures_follow_from_its_file_and_from_its_rounding() {
    let reckoned = reckoned();

    let totals = reckoned.totals();
    assert_eq!((reckoned.accounts(), reckoned.lines()), (66, 373));
    assert_eq!(totals.values().filter(|total| total.is_zero()).count(), 27);
    assert_eq!(reckoned.total().to_string(), "10.07");
    assert_eq!(cents(reckoned.exact()).to_string(), "10.04");
}

#[tokio::test]
async fn every_invoice_has_its_row_in_the_report_and_its_document() {
    let scene = Scene::open().await;

    scene.close("").await;

    let report = scene.report("2024-09");
    let reported = report
        .iter()
        .map(|row| (row.account.clone(), row.total.parse().unwrap()));
    assert_eq!(
        reported.collect::<BTreeMap<String, Decimal>>(),
        reckoned().totals()
    );
    let settled = report
        .iter()
        .map(|row| row.settled.parse::<Decimal>().unwrap());
    assert_eq!(settled.sum::<Decimal>().to_string(), "8.36");
    let held = report
        .iter()
        .filter(|row| row.held == "held" && row.payment.starts_with("declined: "));
    assert_eq!(held.count(), 4);
    let documents = scene.documents();
    assert_eq!((report.len(), documents.len()), (66, 66));
    for row in report {
        let name = format!("{}.html", row.number);
        let document = documents.iter().find(|path| path.ends_with(&name)).unwrap();
        let page = fs::read_to_string(document).unwrap();
        assert!(
            page.contains(&row.number) && page.contains(&row.account),
            "{name}"
        );
        assert!(
            page.contains(&row.total),
            "{name} does not name {}",
            row.total
        );
    }
}

#[tokio::test]
async fn stdout_is_empty_unless_json_is_asked_for() {
    let scene = Scene::open().await;

    let closed = scene.month_close("").run().await.exits(0);

    assert_eq!(closed.out, "");
    closed.says(&["September 2024 is closed", "10.07", "none violated"]);
    let again = scene.month_close("").run().await.exits(0);
    again.says(&["was closed already; nothing new", "10.07"]);
}
