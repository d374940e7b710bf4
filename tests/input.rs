//! Promise: bad input is answered with what is wrong, where, and what to do; and nothing is lost.

use serde_json::json;

use crate::scene::{Charge, Ended, Scene};

const VM: (&str, &str) = ("vm", "0.5");

/// A good file of three accounts, whose line `line` was changed by somebody.
fn spoiled(scene: &Scene, (line, from, to): (usize, &str, &str)) -> String {
    let charges = [1, 2, 3].map(|n| Charge::new((n, "2024-09"), format!("acct-{n}"), VM, 2 * n));
    let good = scene.usage("good.csv", &charges);
    let text = std::fs::read_to_string(good).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let changed = lines[line - 1].replacen(from, to, 1);
    assert_ne!(lines[line - 1], changed);
    lines[line - 1] = changed;
    scene.file("usage.csv", lines.join("\n").as_bytes())
}

/// What a run with these arguments is told by exit code 2; it must leave no invoice.
async fn refused(scene: &Scene, arguments: &str) -> Ended {
    let refused = scene.month_close(arguments).run().await.exits(2);
    assert_eq!(scene.count("select count(*) from billing.invoice").await, 0);
    assert_eq!(refused.out, "");
    refused
}

#[tokio::test]
async fn a_bad_row_is_named_by_file_line_and_column_with_what_to_do() {
    let scene = Scene::open().await;
    for (spoil, told) in [
        (
            (3, ",2.0,", ",two,"),
            r#"line 3, column BilledCost: "two" is not a number"#,
        ),
        (
            (2, "2024-09-01", "2024-09-31"),
            "line 2, column BillingPeriodStart: ",
        ),
        ((4, "acct-3", ""), "line 4, column SubAccountId: is empty"),
        ((4, "USD", "DOLLARS"), "line 4, column BillingCurrency: "),
        (
            (3, "vm,", ""),
            "line 3: has 12 fields where the header has 13",
        ),
    ] {
        let usage = spoiled(&scene, spoil);

        let refused = refused(&scene, &format!("--usage {usage}")).await;

        refused.says(&[&usage, told, "--on-bad-row skip"]);
    }
}

#[tokio::test]
async fn an_account_in_two_currencies_is_a_bad_row() {
    let scene = Scene::open().await;
    let dollars = Charge::new((1, "2024-09"), "acme", VM, 2);
    let euros = Charge {
        id: "2".to_owned(),
        currency: "EUR",
        ..dollars.clone()
    };
    let usage = scene.usage("usage.csv", &[dollars, euros]);

    let refused = refused(&scene, &format!("--usage {usage}")).await;

    let told = r#"line 3, column BillingCurrency: account "acme" is billed in USD, not in EUR"#;
    refused.says(&[&usage, told]);
}

#[tokio::test]
async fn bad_rows_may_be_left_out_and_are_billed_once_they_are_mended() {
    let scene = Scene::open().await;
    let usage = spoiled(&scene, (3, ",2.0,", ",two,"));

    let skipping = format!("--usage {usage} --on-bad-row skip --json");
    let skipping = scene.month_close(&skipping).run().await.exits(0);
    assert_eq!(skipping.json()["invoiced"], json!({ "USD": "4.00" }));
    skipping.says(&[
        r#"skipped   line 3, column BilledCost: "two" is not a number"#,
        "1 skipped",
    ]);
    let good = scene.data_dir().with_file_name("good.csv");
    let mended = scene.close(&format!("--usage {}", good.display())).await;

    assert_eq!(
        (&mended["accounts"], &mended["exceptions"]),
        (&json!(3), &json!(0))
    );
    assert_eq!(mended["invoiced"], json!({ "USD": "6.00" }));
}

#[tokio::test]
async fn a_file_that_is_none_is_refused_by_name() {
    let scene = Scene::open().await;
    let empty = scene.file("empty.csv", b"");
    let other = scene.file("other.csv", b"name,amount\nacme,12\n");
    let folder = scene.data_dir().with_file_name("");
    let (good, charge) = ("good.csv", Charge::new((1, "2024-09"), "acme", VM, 2));
    let good = std::fs::read_to_string(scene.usage(good, &[charge])).unwrap();
    let returns = scene.file("returns.csv", good.replace('\n', "\r").as_bytes());
    for (path, told) in [
        (
            &*returns,
            "line 1: no line feed ends it, as in a file whose lines end with a carriage return",
        ),
        (
            &*empty,
            "is empty: it should begin with a line of column names",
        ),
        (&*other, "has no column BilledCost"),
        (
            folder.to_str().unwrap(),
            "is a directory: name the CSV file in it",
        ),
        ("/nowhere/usage.csv", "cannot be read: No such file"),
    ] {
        let refused = refused(&scene, &format!("--usage {path}")).await;

        refused.says(&[path, told]);
    }
}

#[tokio::test]
async fn a_file_without_rows_says_so() {
    let scene = Scene::open().await;
    let usage = scene.usage("usage.csv", &[]);

    let refused = refused(&scene, &format!("--usage {usage}")).await;

    refused.says(&[
        &usage,
        "a line of column names, and no rows below it",
        "nothing to bill",
    ]);
}

/// The control of all refusals: it is the change that is refused, not the file or the arguments.
#[tokio::test]
async fn the_same_file_as_it_was_before_it_was_spoiled_is_billed() {
    let scene = Scene::open().await;
    spoiled(&scene, (3, ",2.0,", ",two,"));
    let good = scene.data_dir().with_file_name("good.csv");

    let closed = scene.close(&format!("--usage {}", good.display())).await;

    assert_eq!(closed["invoices"]["final"], 3);
}

#[tokio::test]
async fn an_instant_for_which_there_are_no_figures_yet_is_refused() {
    let scene = Scene::open().await;
    let usage = scene.usage("usage.csv", &[Charge::new((1, "2024-09"), "acme", VM, 2)]);
    for (instant, told) in [
        (
            "9999-12-01T00:00:00Z",
            "--as-of is in the future: name an instant that has passed by now, ",
        ),
        (
            "2024-09-30T23:59:59Z",
            "--as-of is before the end of 2024-09: name 2024-10-01T00:00:00Z or later",
        ),
    ] {
        for mode in ["", "--dry-run"] {
            let arguments = format!("--usage {usage} --as-of {instant} {mode}");

            refused(&scene, &arguments).await.says(&[told]);
        }
    }

    let close = "--as-of 2024-10-01T00:00:00Z";
    scene.month_close(close).run().await.exits(0);
}

#[tokio::test]
async fn the_instant_of_a_months_first_run_stays_and_whoever_names_another_is_told() {
    let scene = Scene::open().await;
    let usage = scene.usage("usage.csv", &[Charge::new((1, "2024-09"), "acme", VM, 2)]);
    let note = "the month's first run named another instant, which stays";
    let close = async |instant: &str| {
        let arguments = format!("--usage {usage} --period 2024-09 --as-of {instant}");
        scene.month_close(&arguments).run().await.exits(0)
    };

    let first = close("2024-10-03T00:00:00Z").await;
    let same = close("2024-10-03T00:00:00Z").await;
    let other = close("2024-10-04T00:00:00Z").await;

    assert!(!first.err.contains(note) && !same.err.contains(note));
    other.says(&[note, "as of 2024-10-03 00:00:00 UTC"]);
}

#[tokio::test]
async fn a_month_that_never_was_has_no_report() {
    let scene = Scene::open().await;
    let usage = scene.usage("usage.csv", &[Charge::new((1, "2024-09"), "acme", VM, 2)]);
    scene.close(&format!("--usage {usage}")).await;
    let report = |month| scene.data_dir().join(format!("reports/{month}.csv"));

    let refused = scene.month_close("report 2031-01 --json").run().await;

    let refused = refused.exits(2);
    refused.says(&["there is no 2031-01 in the books"]);
    assert!(!report("2031-01").exists() && report("2024-09").exists());
    scene.month_close("report 2024-09").run().await.exits(0);
}

#[tokio::test]
async fn a_month_that_cannot_be_closed_is_refused() {
    let scene = Scene::open().await;
    let usage = scene.usage("usage.csv", &[Charge::new((1, "2050-01"), "acme", VM, 2)]);
    let import = format!("--usage {usage}");

    refused(&scene, &import)
        .await
        .says(&["no month with usage has ended", "--period YYYY-MM"]);
    for (arguments, told) in [
        ("--period 2050-01", "2050-01 is not over before 2050-02-01"),
        (
            "--period 2024-01",
            "no account has an open period in 2024-01: import its usage first",
        ),
        (
            "--period 2051-03",
            "2051-03 has not ended: close it after 2051-04-01T00:00:00Z",
        ),
        ("--period 2024-13", "a month looks like 2024-09"),
        ("--period September", "a month looks like 2024-09"),
        (
            "--as-of yesterday",
            "an instant looks like 2024-10-01T00:00:00Z",
        ),
        ("--chunk 0", "1..=500"),
        ("--by-account", "--json"),
        ("report", "no month was closed yet"),
        (
            "report 2050-01",
            "2050-01 is not closed yet: close it with --period 2050-01",
        ),
    ] {
        refused(&scene, arguments).await.says(&[told]);
    }
}
