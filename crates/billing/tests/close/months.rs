//! Which month is closed, and when.

use billing::check::Scope;
use billing::month_close::{self, RunError, StartError, State};
use chrono::Duration;

use crate::books::{Books, month};

async fn refusal(books: &Books, options: &month_close::Options) -> StartError {
    match month_close::run(&books.outbox, options, &|_| ()).await {
        Err(RunError::Start(refused)) => refused,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_month_is_not_closed_before_it_is_over() {
    let books = Books::open().await;
    books.customers(2, month("2024-09")).await;
    // Midnight of Budapest.
    let over = "2024-09-30T22:00:00Z".parse().unwrap();
    let mut options = books.options(month("2024-09"));

    options.now = over - Duration::seconds(1);
    let refused = refusal(&books, &options).await;
    assert_eq!(
        refused.to_string(),
        "2024-09 is not over before 2024-09-30 22:00:00 UTC: close it then"
    );

    options.now = over;
    let closed = month_close::run(&books.outbox, &options, &|_| ())
        .await
        .unwrap();
    assert_eq!(closed.figures.invoices, 2);
}

#[tokio::test]
async fn a_month_that_nobody_used_cannot_be_closed() {
    let books = Books::open().await;
    books.customers(1, month("2024-09")).await;

    let refused = refusal(&books, &books.options(month("2024-08"))).await;

    assert_eq!(
        refused.to_string(),
        "no account has an open period in 2024-08: import its usage first"
    );
}

#[tokio::test]
async fn the_oldest_month_with_something_to_bill_comes_next() {
    let books = Books::open().await;
    let (pool, now) = (books.pool(), outbox::clock::now());
    assert_eq!(month_close::next_month(pool, now).await.unwrap(), None);
    let account = books.account("acme", "USD").await;
    let price = books.price("vm", "USD", Some("1")).await;
    for used in ["2024-08", "2024-10"] {
        books.used((account, price), month(used), ("1", "0")).await;
    }

    for next in ["2024-08", "2024-10"] {
        assert_eq!(
            month_close::next_month(pool, now).await.unwrap(),
            Some(month(next))
        );
        books.close(month(next)).await;
        assert_eq!(
            month_close::last_month(pool).await.unwrap(),
            Some(month(next))
        );
    }

    // September is open and has nothing to bill.
    assert_eq!(month_close::next_month(pool, now).await.unwrap(), None);
}

#[tokio::test]
async fn a_month_of_exceptions_does_not_stand_before_the_next() {
    let books = Books::open().await;
    let account = books.account("acme", "USD").await;
    let foreign = books.price("vm", "EUR", Some("1")).await;
    books
        .used((account, foreign), month("2024-08"), ("1", "0"))
        .await;
    let now = outbox::clock::now();
    books.close(month("2024-08")).await;
    assert_eq!(
        month_close::next_month(books.pool(), now).await.unwrap(),
        Some(month("2024-08")),
        "nothing else is left to try"
    );

    books.customers(1, month("2024-09")).await;

    assert_eq!(
        month_close::next_month(books.pool(), now).await.unwrap(),
        Some(month("2024-09"))
    );
}

#[tokio::test]
async fn late_usage_joins_the_next_invoice_marked_with_its_month() {
    let books = Books::open().await;
    let account = books.account("acme", "USD").await;
    let price = books.price("vm", "USD", Some("1")).await;
    books
        .used((account, price), month("2024-08"), ("1", "0"))
        .await;
    books.close(month("2024-08")).await;

    books
        .used((account, price), month("2024-08"), ("5", "0"))
        .await;
    books
        .used((account, price), month("2024-09"), ("2", "0"))
        .await;
    books.close(month("2024-09")).await;

    let lines = "select string_agg(concat_ws(' ', month, usage_month, quantity), ', '
        order by number, line_no) from billing.line join billing.invoice using (invoice_id)";
    assert_eq!(
        books.ask(lines).await,
        "2024-08-01 2024-08-01 1, 2024-09-01 2024-08-01 5, 2024-09-01 2024-09-01 2"
    );
    assert!(books.violated(Scope::Always).await.is_empty());
}

#[tokio::test]
async fn a_closed_month_runs_again_for_an_account_that_came_later() {
    let books = Books::open().await;
    let september = month("2024-09");
    books.customers(2, september).await;
    let first = books.close(september).await;
    let late = books.account("late", "USD").await;
    let price = books.price("vm", "USD", Some("0.25")).await;
    books.used((late, price), september, ("1", "0")).await;
    assert!(books.violated(Scope::Always).await.is_empty());

    let second = books.close(september).await;

    assert_eq!(second.run.id, first.run.id);
    assert_eq!(second.run.state, State::Closed);
    assert_eq!((second.done.invoices, second.figures.invoices), (1, 3));
    let told = "select string_agg(substr(topic, 13), ' ' order by id) from outbox.event
        where topic like 'month_close.%'";
    assert_eq!(
        books.ask(told).await,
        "started completed reopened completed"
    );
    assert!(books.violated(Scope::Always).await.is_empty());
}

#[tokio::test]
async fn an_instant_finer_than_the_tables_is_told_as_they_keep_it() {
    let books = Books::open().await;
    books.customers(2, month("2024-09")).await;
    let mut options = books.options(month("2024-09"));
    options.as_of += Duration::nanoseconds(1_999);
    options.now += Duration::nanoseconds(999);

    let closed = month_close::run(&books.outbox, &options, &|_| ())
        .await
        .unwrap();

    assert_eq!(closed.run.as_of.timestamp_subsec_nanos(), 1_000);
    assert!(books.violated(Scope::Always).await.is_empty());
}

#[tokio::test]
async fn nothing_at_a_time_is_one_at_a_time() {
    let books = Books::open().await;
    books.customers(3, month("2024-09")).await;
    let mut options = books.options(month("2024-09"));
    (options.chunk, options.parallel) = (0, 0);

    let closed = month_close::run(&books.outbox, &options, &|_| ())
        .await
        .unwrap();

    assert_eq!(closed.figures.invoices, 3);
}

#[tokio::test]
async fn the_first_start_decides_the_instant_of_the_figures() {
    let books = Books::open().await;
    books.customers(1, month("2024-09")).await;
    let mut options = books.options(month("2024-09"));
    let as_of = options.as_of;
    let mut tx = books.begin().await;
    month_close::start(&mut tx, options.month, as_of, options.now)
        .await
        .unwrap();
    tx.commit().await.unwrap();

    options.as_of += Duration::days(1);
    let closed = month_close::run(&books.outbox, &options, &|_| ())
        .await
        .unwrap();

    assert_eq!(closed.run.as_of, as_of);
    assert_eq!(
        books
            .ask("select extract(epoch from as_of)::bigint from billing.invoice")
            .await,
        as_of.timestamp().to_string()
    );
}
