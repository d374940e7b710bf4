//! The sample month, from the file to the last cent.

use std::path::Path;

use billing::check::Scope;
use billing::import::{ImportOptions, OnBadRow, focus};
use rust_decimal::Decimal;

use crate::books::{Books, month, origin};

const FILE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../samples/focus/focus_2024-09.csv"
);

#[tokio::test]
async fn the_sample_month_closes_to_the_cent() {
    let books = Books::open().await;
    let options = ImportOptions {
        on_bad_row: OnBadRow::Stop,
        now: outbox::clock::now(),
    };
    focus::import_file(&books.outbox, origin(), Path::new(FILE), options, |_| ())
        .await
        .unwrap();

    let closed = books.close(month("2024-09")).await;

    // Calculated from the file by another program.
    let figures = closed.figures;
    assert_eq!(
        (figures.accounts, figures.invoices, figures.zero),
        (66, 66, 27)
    );
    assert_eq!((figures.lines, figures.exceptions), (373, 0));
    assert_eq!(figures.invoiced[0].to_string(), "10.07 USD");
    let halves = "select count(*) from billing.line
        where abs(exact * 100 - trunc(exact * 100)) = 0.5";
    assert_eq!(books.ask(halves).await, "23");
    let away = "select count(*) from billing.line
        where abs(exact * 100 - trunc(exact * 100)) = 0.5 and abs(amount_minor) > abs(exact * 100)";
    assert_eq!(books.ask(away).await, "23");
    let exact: Decimal = books
        .ask("select sum(exact) from billing.line")
        .await
        .parse()
        .unwrap();
    assert_eq!(exact.normalize().to_string(), "10.0409220869051305");
    assert!(books.violated(Scope::Always).await.is_empty());
}
