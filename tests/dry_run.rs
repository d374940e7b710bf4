//! Promise: a dry run writes nothing and says what the real run will say.

use serde_json::Value;

use crate::scene::{Charge, Scene};

/// Every table of the product with its number of rows.
const ROWS: &str = "
    select format('%s.%s %s', table_schema, table_name, (xpath('/row/n/text()', query_to_xml(
        format('select count(*) as n from %I.%I', table_schema, table_name), true, true, '')))[1])
    from information_schema.tables
    where table_schema in ('billing', 'outbox') and table_type = 'BASE TABLE'
    order by 1";

fn month_of(printed: &Value) -> Vec<&Value> {
    let figures = [
        "period",
        "accounts",
        "invoices",
        "lines",
        "invoiced",
        "exceptions",
    ];
    figures
        .into_iter()
        .chain(["by_account"])
        .map(|figure| &printed[figure])
        .collect()
}

#[tokio::test]
async fn a_dry_run_of_the_sample_writes_nothing_and_prints_what_the_real_run_prints() {
    let scene = Scene::open().await;
    let before = scene.texts(ROWS).await;

    let dry = scene
        .month_close("--dry-run --json --by-account")
        .run()
        .await
        .exits(0);

    assert_eq!(scene.texts(ROWS).await, before);
    assert!(!scene.data_dir().join("documents").exists());
    assert!(!scene.data_dir().join("reports").exists());
    let dry = dry
        .says(&["would close like this; nothing was written"])
        .json();
    // Without workers: a dry run charges nobody.
    let real = scene.close("--by-account --no-workers").await;
    assert_eq!(month_of(&dry), month_of(&real));
    // The control: what a real run writes is seen in these counts.
    assert_ne!(scene.texts(ROWS).await, before);
}

#[tokio::test]
async fn a_dry_run_of_a_file_sees_what_is_there_already_and_changes_none_of_it() {
    let scene = Scene::open().await;
    let charges = |range: std::ops::Range<i32>, month| -> Vec<_> {
        let charge = |n| Charge::new((n, month), format!("a{}", n % 7), ("vm", "0.35"), n);
        range.map(charge).collect()
    };
    let september = scene.usage("1.csv", &charges(1..20, "2024-09"));
    scene.close(&format!("--usage {september}")).await;
    let before = scene.texts(ROWS).await;
    let october = scene.usage("2.csv", &charges(20..50, "2024-10"));

    let dry = scene
        .close(&format!("--usage {october} --dry-run --by-account"))
        .await;

    assert_eq!(scene.texts(ROWS).await, before);
    let real = scene
        .close(&format!("--usage {october} --by-account"))
        .await;
    assert_eq!(month_of(&dry), month_of(&real));
    assert_eq!(real["period"], "2024-10");
}
