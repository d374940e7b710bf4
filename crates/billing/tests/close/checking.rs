//! The checks, on data that is as it should be.

use billing::check::{self, Scope};

use crate::plants;

#[tokio::test]
async fn nothing_is_found_where_nothing_is_wrong() {
    let books = plants::good().await;

    let outcomes = check::run(books.pool(), Scope::AtRest).await.unwrap();

    assert_eq!(outcomes.len(), check::ALL.len());
    let found: Vec<_> = outcomes.iter().filter(|outcome| !outcome.holds()).collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[tokio::test]
async fn nothing_is_found_in_an_empty_database() {
    let books = crate::books::Books::open().await;

    assert!(books.violated(Scope::AtRest).await.is_empty());
}

#[tokio::test]
async fn checks_at_rest_run_only_at_rest() {
    let books = crate::books::Books::open().await;

    let always = check::run(books.pool(), Scope::Always).await.unwrap();

    let at_rest = check::ALL.iter().filter(|check| check.at_rest).count();
    assert_eq!(always.len() + at_rest, check::ALL.len());
    assert!(always.iter().all(|outcome| outcome.code != "D1"));
}

#[tokio::test]
async fn an_outcome_shows_ten_rows_at_most_and_counts_them_all() {
    let books = crate::books::Books::open().await;
    books.customers(12, crate::books::month("2024-09")).await;
    books.close(crate::books::month("2024-09")).await;

    let outcomes = check::run(books.pool(), Scope::AtRest).await.unwrap();

    let undrawn = outcomes
        .iter()
        .find(|outcome| outcome.code == "D1")
        .unwrap();
    assert_eq!((undrawn.violations, undrawn.rows.len()), (12, 10));
    assert_eq!(undrawn.rows[0]["state"], serde_json::Value::Null);
    assert_eq!(
        undrawn.title,
        "at rest, every invoice has its document written"
    );
}
