//! Promise: the customers that are made up are the same for the same seed, however often, however
//! many and however interrupted they are made, and their months close clean.

use serde_json::{Value, json};
use testkit::until;

use crate::scene::{PATIENCE, Scene};

const CLOUD: &str = "--sample cloud --accounts 300 --by-account";
/// Without the workers, where it is not about them.
const BILLED: &str = "--sample cloud --accounts 300 --by-account --no-workers";

/// What a month came to, whoever did it and how often.
fn month(closed: &Value) -> Value {
    let figures = [
        "period",
        "accounts",
        "invoices",
        "lines",
        "invoiced",
        "collected",
        "declined",
        "held",
        "exceptions",
        "by_account",
        "checks",
    ];
    figures
        .iter()
        .map(|name| (*name, closed[name].clone()))
        .collect()
}

async fn closed(arguments: &str) -> Value {
    Scene::open().await.close(arguments).await
}

#[tokio::test]
async fn a_cloud_hosts_month_closes_clean_and_again_it_changes_nothing() {
    let scene = Scene::open().await;

    let first = scene.close(CLOUD).await;
    let second = scene.close(CLOUD).await;

    assert_eq!(first["sample"]["new"], 300);
    assert_eq!(
        (&first["period"], &first["accounts"]),
        (&json!("2026-01"), &json!(300))
    );
    assert_eq!(
        (&first["exceptions"], &first["checks"]["violated"]),
        (&json!(0), &json!(0))
    );
    let currencies: Vec<_> = first["invoiced"].as_object().unwrap().keys().collect();
    assert_eq!(currencies, ["JPY", "KWD", "USD"]);
    assert_eq!(
        (&second["sample"]["new"], &second["events"]["appended"]),
        (&json!(0), &json!(0))
    );
    assert_eq!(month(&second), month(&first));
    let report = std::fs::read_to_string(scene.data_dir().join("reports/2026-01.csv"));
    let paid = report.unwrap().matches(",paid,").count();
    assert_eq!(json!(paid), first["invoices"]["paid"]);
}

#[tokio::test]
async fn the_same_seed_gives_the_same_sums_and_another_gives_others() {
    let one = closed(BILLED).await;
    let same = closed(BILLED).await;
    let other = closed(&format!("{BILLED} --seed 2")).await;

    assert_eq!(month(&same), month(&one));
    assert_ne!(other["invoiced"], one["invoiced"]);
}

#[tokio::test]
async fn more_accounts_add_the_rest_and_leave_the_others_as_they_are() {
    let scene = Scene::open().await;
    let few = scene.close(BILLED).await;

    let more = scene
        .close("--sample cloud --accounts 1200 --by-account --no-workers")
        .await;

    assert_eq!(
        (&more["sample"]["new"], &more["accounts"]),
        (&json!(900), &json!(1200))
    );
    let more = more["by_account"].as_object().unwrap();
    for (account, sums) in few["by_account"].as_object().unwrap() {
        assert_eq!(&more[account], sums, "{account}");
    }
}

#[tokio::test]
async fn a_later_month_bills_the_same_customers_and_needs_the_first() {
    let scene = Scene::open().await;
    let february = format!("{BILLED} --period 2026-02");
    let early = scene.month_close(&february).with(["--json"]).run().await;
    early.exits(2).says(&["--period 2026-01 --accounts 300"]);
    scene.close(BILLED).await;

    let first = scene.close(&february).await;
    let second = scene.close(&february).await;

    assert_eq!(
        (&first["period"], &first["exceptions"]),
        (&json!("2026-02"), &json!(0))
    );
    let months = "select count(distinct usage_month) from billing.usage_event";
    assert_eq!(scene.count(months).await, 2);
    let accounts = "select count(*) from billing.account";
    assert_eq!(scene.count(accounts).await, 300);
    assert_eq!(second["events"]["appended"], 0);
    assert_eq!(month(&second), month(&first));
}

#[tokio::test]
async fn whoever_closes_a_month_before_an_earlier_one_is_told() {
    const TOLD: &str = "2026-01 is still open: close it with --period 2026-01";
    let scene = Scene::open().await;
    scene
        .close("--sample cloud --accounts 30 --import-only")
        .await;
    let february = "--sample cloud --accounts 30 --period 2026-02 --count-mail";

    let early = scene.month_close(february).run().await.exits(0);
    let january = scene.month_close("--period 2026-01").run().await.exits(0);
    let later = scene.month_close("--period 2026-02").run().await.exits(0);

    early.says(&[TOLD]);
    assert!(!january.err.contains(TOLD) && !later.err.contains(TOLD));
}

#[tokio::test]
async fn killed_while_customers_are_made_it_goes_on_and_ends_as_if_undisturbed() {
    const MANY: &str = "--sample cloud --accounts 9000 --by-account --no-workers";
    const MADE: &str = "select count(*) from billing.account";
    let scene = Scene::open().await;
    let mut left_at = Vec::new();
    for least in [0, 1, 2_000] {
        let mut running = scene.month_close(MANY).with(["--json"]).start();
        let reached = until(MADE, PATIENCE, async || {
            let there = scene.count(MADE).await >= least;
            (there || !running.is_running()).then_some(there)
        });
        assert!(reached.await.unwrap(), "it ended: {}", running.said());
        assert!(running.kill().await, "it had ended");
        left_at.push(scene.count(MADE).await);
    }

    let disturbed = scene.close(MANY).await;

    // The control: a kill struck in the middle.
    assert!(
        left_at.iter().any(|at| (1..9_000).contains(at)),
        "{left_at:?}"
    );
    assert_eq!(scene.count(MADE).await, 9_000);
    assert_eq!(month(&disturbed), month(&closed(MANY).await));
}

#[tokio::test]
async fn what_is_only_computed_or_only_imported_closes_nothing() {
    let scene = Scene::open().await;

    let dry = scene.close("--sample cloud --accounts 50 --dry-run").await;
    assert_eq!(
        (
            &dry["accounts"],
            scene.count("select count(*) from billing.account").await
        ),
        (&json!(50), 0)
    );

    let imported = scene
        .close("--sample cloud --accounts 50 --import-only")
        .await;
    assert_eq!(imported["sample"]["new"], 50);
    assert_eq!(scene.count("select count(*) from billing.invoice").await, 0);
}

#[tokio::test]
async fn what_makes_no_sense_for_a_sample_is_refused() {
    let scene = Scene::open().await;
    for (arguments, why) in [
        ("--accounts 5", "--sample"),
        ("--sample focus --seed 5", "--sample cloud"),
        ("--sample cloud --period 2025-12", "begins in 2026-01"),
        ("--sample cloud --usage usage.csv", "cannot be used with"),
        (
            "--sample cloud --period 2050-01",
            "2050-01 has not ended: close it after 2050-02-01T00:00:00Z",
        ),
        ("--sample cloud --accounts 0", "invalid value '0'"),
        (
            "--sample cloud --accounts -5",
            "invalid value '-5' for '--accounts",
        ),
        ("--sample cloud --seed -5", "invalid value '-5' for '--seed"),
    ] {
        let ended = scene.month_close(arguments).run().await;
        ended.exits(2).says(&[why]);
    }
}
