//! Accounts whose data is bad: listed, and in nobody's way.

use billing::check::Scope;
use billing::ids::AccountId;
use billing::month_close::{self, State};

use crate::books::{Books, month};

/// Twelve customers, and one among them who used something in another currency.
async fn one_of_them_bad(books: &Books) -> AccountId {
    let bad = books.account("bad", "USD").await;
    let foreign = books.price("vm", "EUR", Some("1")).await;
    books
        .used((bad, foreign), month("2024-09"), ("1", "0"))
        .await;
    books.customers(12, month("2024-09")).await;
    bad
}

#[tokio::test]
async fn an_account_that_cannot_be_rated_is_listed_and_its_neighbours_are_billed() {
    let books = Books::open().await;
    one_of_them_bad(&books).await;

    let closed = books.close(month("2024-09")).await;

    assert_eq!((closed.done.invoices, closed.done.exceptions), (12, 1));
    assert_eq!(closed.run.state, State::Closed);
    assert_eq!(
        books
            .ask("select reason from billing.close_exception")
            .await,
        "price vm is in EUR and the account is billed in USD: \
         rate this usage with a price in USD"
    );
    assert!(books.violated(Scope::Always).await.is_empty());
}

#[tokio::test]
async fn a_mended_exception_is_billed_by_the_next_run() {
    let books = Books::open().await;
    let bad = one_of_them_bad(&books).await;
    books.close(month("2024-09")).await;
    let unmended = books.close(month("2024-09")).await;
    assert_eq!((unmended.done.invoices, unmended.done.exceptions), (0, 1));

    let id = uuid::Uuid::from(bad);
    books
        .run(&format!(
            "update billing.account set currency = 'EUR' where account_id = '{id}'"
        ))
        .await;
    let mended = books.close(month("2024-09")).await;

    assert_eq!((mended.done.invoices, mended.done.exceptions), (1, 0));
    assert_eq!(
        (mended.figures.invoices, mended.figures.exceptions),
        (13, 0)
    );
    let invoiced: Vec<_> = mended
        .figures
        .invoiced
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(invoiced, ["1.00 EUR", "19.50 USD"]);
    assert!(books.violated(Scope::Always).await.is_empty());
}

#[tokio::test]
async fn rows_that_the_database_refuses_make_their_account_alone_an_exception() {
    let books = Books::open().await;
    books.customers(12, month("2024-09")).await;
    books
        .run("alter table billing.invoice add constraint spared check (external_id <> 'c004')")
        .await;

    let closed = books.close(month("2024-09")).await;

    assert_eq!((closed.done.invoices, closed.done.exceptions), (11, 1));
    let listed = "select external_id || ': ' || reason from billing.close_exception
        join billing.account using (account_id)";
    let listed = books.ask(listed).await;
    assert!(
        listed.starts_with("c004: ") && listed.contains("\"spared\""),
        "{listed}"
    );
    assert_eq!(
        books.ask("select max(number) from billing.invoice").await,
        "11"
    );
    assert!(books.violated(Scope::Always).await.is_empty());
}

#[tokio::test]
async fn trouble_that_is_not_an_accounts_stops_the_run_and_lists_nobody() {
    let books = Books::open().await;
    books.customers(3, month("2024-09")).await;
    books
        .run("alter table billing.line rename to line_moved")
        .await;

    let stopped = month_close::run(&books.outbox, &books.options(month("2024-09")), &|_| ()).await;

    assert!(stopped.is_err());
    assert_eq!(
        books
            .ask("select count(*) from billing.close_exception")
            .await,
        "0"
    );
    books
        .run("alter table billing.line_moved rename to line")
        .await;
    assert_eq!(books.close(month("2024-09")).await.figures.invoices, 3);
}

#[tokio::test]
async fn sums_beyond_all_digits_are_an_exception_and_not_an_error() {
    let books = Books::open().await;
    books.customers(2, month("2024-09")).await;
    books
        .run(
            "update billing.usage_sum set quantity = 123456789012345678901234567890123.5
            where account_id = (select account_id from billing.account where external_id = 'c001')",
        )
        .await;

    let closed = books.close(month("2024-09")).await;

    assert_eq!((closed.done.invoices, closed.done.exceptions), (1, 1));
    let reason = books
        .ask("select reason from billing.close_exception")
        .await;
    assert!(reason.contains("has more than 28 digits"), "{reason}");
}
