//! Files and rows that cannot be billed.

use std::path::Path;

use billing::import::{BadRow, OnBadRow};
use tempfile::NamedTempFile;

use super::world::{World, bytes, file, header, row};

async fn refusal(world: &World, path: &Path) -> String {
    world
        .import(path, OnBadRow::Stop)
        .await
        .unwrap_err()
        .to_string()
}

async fn skipped(world: &World, path: &Path) -> Vec<String> {
    let summary = world.import(path, OnBadRow::Skip).await.unwrap();
    summary.bad_rows.iter().map(BadRow::to_string).collect()
}

#[tokio::test]
async fn a_bad_row_stops_the_import_before_its_chunk_is_recorded() {
    let world = World::new().await;
    let bad = file(&["Id=1", "Id=2 BilledCost=abc", "Id=3"]);

    let refusal = refusal(&world, bad.path()).await;

    assert_eq!(
        refusal,
        r#"line 3, column BilledCost: "abc" is not a number"#
    );
    assert_eq!(world.count("billing.usage_event").await, 0);
}

#[tokio::test]
async fn bad_rows_can_be_left_out_and_are_listed() {
    let world = World::new().await;
    let bad = file(&[
        "Id=1",
        "Id=2 BilledCost=abc",
        "Id=3 SubAccountId=NULL",
        "Id=4",
    ]);

    let skipped = skipped(&world, bad.path()).await;

    let told = [
        r#"line 3, column BilledCost: "abc" is not a number"#,
        "line 4, column SubAccountId: is empty",
    ];
    assert_eq!(skipped, told);
    assert_eq!(world.count("billing.usage_event").await, 2);
}

#[tokio::test]
async fn an_id_with_other_figures_is_refused_and_the_first_ones_stay() {
    let world = World::new().await;
    world
        .import(file(&["Id=1"]).path(), OnBadRow::Stop)
        .await
        .unwrap();
    let before = world.figures().await;
    let changed = file(&["Id=1 PricingQuantity=4 BilledCost=2"]);

    let problem = r#"line 2, column Id: "1" was recorded before with other figures"#;

    assert_eq!(refusal(&world, changed.path()).await, problem);
    assert_eq!(skipped(&world, changed.path()).await, [problem]);
    assert_eq!(world.figures().await, before);
}

#[tokio::test]
async fn an_id_twice_in_one_file_is_the_first_one() {
    let world = World::new().await;
    let twice = file(&["Id=1", "Id=1", "Id=1 BilledCost=0.7", "Id=1"]);

    let summary = world.import(twice.path(), OnBadRow::Skip).await.unwrap();

    assert_eq!((summary.new, summary.repeated, summary.skipped), (1, 2, 1));
    assert_eq!(summary.bad_rows[0].line, 4);
    assert_eq!(
        world
            .rows("select quantity::int, events from billing.usage_sum")
            .await,
        ["(2,1)"]
    );
}

#[tokio::test]
async fn an_account_has_one_currency() {
    let world = World::new().await;
    let mixed = file(&["Id=1", "Id=2 BillingCurrency=EUR"]);
    let later = file(&["Id=3 BillingCurrency=EUR", "Id=4"]);
    let told = |line| {
        let problem = r#"account "acme" is billed in USD, not in EUR"#;
        format!("line {line}, column BillingCurrency: {problem}")
    };

    assert_eq!(refusal(&world, mixed.path()).await, told(3));
    assert_eq!(world.count("billing.account").await, 0);
    assert_eq!(skipped(&world, mixed.path()).await, [told(3)]);
    assert_eq!(skipped(&world, later.path()).await, [told(2)]);
    assert_eq!(
        world
            .rows(
                "select currency, events from billing.usage_sum join billing.price using (price_id)"
            )
            .await,
        ["(USD,2)"]
    );
}

#[tokio::test]
async fn a_month_out_of_reach_is_a_bad_row() {
    let world = World::new().await;
    let far = file(&[
        "Id=1",
        "Id=2 BillingPeriodStart=2124-09-01T00:00:00Z",
        "Id=3",
    ]);
    let problem = "line 3, column BillingPeriodStart: 2124-09-01 is more than fifty years after \
                   the account's last month";

    assert_eq!(refusal(&world, far.path()).await, problem);
    assert_eq!(skipped(&world, far.path()).await, [problem]);
    assert_eq!(world.count("billing.usage_event").await, 2);
    assert_eq!(world.count("billing.period").await, 1);
}

#[tokio::test]
async fn all_missing_columns_are_named_at_once() {
    let world = World::new().await;
    let lacking = bytes(["Id,BilledCost,SkuId,SkuPriceId,SubAccountId,SubAccountName".to_owned()]);

    let refusal = refusal(&world, lacking.path()).await;

    let told = "has no column BillingCurrency, BillingPeriodStart, ChargeDescription, \
                ChargePeriodStart, ListUnitPrice, PricingQuantity, PricingUnit: is it a FOCUS 1.0 \
                file?";
    assert!(refusal.ends_with(told), "{refusal}");
}

#[tokio::test]
async fn a_column_that_stands_twice_is_refused() {
    let world = World::new().await;
    let twice = bytes([format!("{},Id", header())]);

    assert!(
        refusal(&world, twice.path())
            .await
            .ends_with("has the column Id twice")
    );
}

#[tokio::test]
async fn what_is_no_file_is_said_to_be_none() {
    let world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.csv");

    let told = refusal(&world, folder.path()).await;
    assert!(
        told.ends_with("is a directory: name the CSV file in it"),
        "{told}"
    );
    let told = refusal(&world, &missing).await;
    assert!(told.ends_with("missing.csv cannot be read"), "{told}");
    let told = refusal(&world, bytes([]).path()).await;
    assert!(
        told.ends_with("is empty: it should begin with a line of column names"),
        "{told}"
    );
}

#[tokio::test]
async fn a_file_without_rows_imports_nothing() {
    let world = World::new().await;

    let summary = world
        .import(file(&[]).path(), OnBadRow::Stop)
        .await
        .unwrap();

    assert_eq!(summary.rows, 0);
}

#[tokio::test]
async fn a_row_of_another_length_is_a_bad_row() {
    let world = World::new().await;
    let lines = bytes([header(), row("Id=1") + ",x", row("Id=2"), "1,2".to_owned()]);

    let told = [
        "line 2: has 14 fields where the header has 13",
        "line 4: has 2 fields where the header has 13",
    ];
    assert_eq!(skipped(&world, lines.path()).await, told);
}

#[tokio::test]
async fn a_quote_that_is_never_closed_does_not_take_the_file_into_memory() {
    let world = World::new().await;
    let refusal = refusal(&world, quoted_for_ever().path()).await;

    let told = "line 3: is longer than 4 MiB: is there a quote that is never closed?";
    assert_eq!(refusal, told);
}

#[tokio::test]
async fn a_row_that_is_too_long_can_be_left_out_and_those_after_it_are_read() {
    let world = World::new().await;

    let summary = world.import(quoted_for_ever().path(), OnBadRow::Skip).await;

    let summary = summary.unwrap();
    assert_eq!((summary.rows, summary.skipped), (ENDLESS as u64 + 2, 1));
    assert_eq!(
        summary.bad_rows[0].to_string(),
        "line 3: is longer than 4 MiB: is there a quote that is never closed?"
    );
}

#[tokio::test]
async fn a_quote_that_is_never_closed_costs_its_own_line_alone() {
    let world = World::new().await;
    let open = row("Id=2").replacen("acme", "\"acme", 1);
    let bad = row("Id=4 BilledCost=abc");
    let lines = [header(), row("Id=1"), String::new(), open, row("Id=3"), bad];

    let skipped = skipped(&world, bytes(lines).path()).await;

    let told = [
        "line 4: has 2 fields where the header has 13",
        r#"line 6, column BilledCost: "abc" is not a number"#,
    ];
    assert_eq!(skipped, told);
    assert_eq!(world.count("billing.usage_event").await, 2);
}

#[tokio::test]
async fn lines_that_end_with_a_carriage_return_alone_are_refused() {
    let world = World::new().await;
    let told = "line 1: no line feed ends it, as in a file whose lines end with a carriage return \
                alone: save the file with line ends of Unix or Windows";
    for (rows, last) in [(1, ""), (1, ",Other"), (ENDLESS, "")] {
        let lines = [vec![header() + last], vec![row("Id=1"); rows]].concat();
        let lines = lines.join("\r");

        let refusal = refusal(&world, bytes([lines]).path()).await;

        assert!(refusal.ends_with(told), "{refusal}");
    }
}

#[tokio::test]
async fn lines_may_end_as_on_windows() {
    let world = World::new().await;
    let lines = [header(), row("Id=1"), row("Id=2"), String::new()].join("\r\n");

    let summary = world.import(bytes([lines]).path(), OnBadRow::Stop).await;

    assert_eq!(summary.unwrap().new, 2);
}

/// More rows than fit into 4 MiB.
const ENDLESS: usize = 60_000;

/// A row with a quote too many, the second of so many.
fn quoted_for_ever() -> NamedTempFile {
    let endless = (0..ENDLESS).map(|_| row("Id=3 SubAccountName=a-name-of-some-length"));
    let open = row("Id=2").replacen("acme", "\"acme", 1);
    bytes([header(), row("Id=1"), open].into_iter().chain(endless))
}
