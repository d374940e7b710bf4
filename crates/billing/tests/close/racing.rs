//! Several closers, killed closers, and what they must not do.

use std::collections::BTreeMap;

use billing::check::Scope;
use billing::month_close::{self, Options, State};
use testkit::until;

use crate::books::{Books, PATIENCE, month};

#[tokio::test(flavor = "multi_thread")]
async fn three_closers_at_once_make_one_invoice_per_account_and_gapless_numbers() {
    let books = Books::open().await;
    books.customers(60, month("2024-09")).await;
    let options = Options {
        chunk: 7,
        ..books.options(month("2024-09"))
    };
    let close = || month_close::run(&books.outbox, &options, &|_| ());

    let (a, b, c) = tokio::join!(close(), close(), close());

    let closed = [a.unwrap(), b.unwrap(), c.unwrap()];
    assert_eq!(
        closed
            .iter()
            .map(|closed| closed.done.invoices)
            .sum::<u64>(),
        60
    );
    assert!(closed.iter().all(|one| one.run == closed[0].run));
    assert!(closed.iter().all(|one| one.run.state == State::Closed));
    assert!(closed.iter().all(|one| one.figures == closed[0].figures));
    let numbers = "select concat_ws(' ', count(*), count(distinct account_id), min(number),
        max(number), count(distinct number)) from billing.invoice";
    assert_eq!(books.ask(numbers).await, "60 60 1 60 60");
    assert!(books.violated(Scope::Always).await.is_empty());
}

#[tokio::test]
async fn a_closer_does_the_rest_waits_for_what_another_holds_and_takes_over_if_it_dies() {
    let books = Books::open().await;
    books.customers(6, month("2024-09")).await;
    let mut dying = books.begin().await;
    sqlx::query("select from billing.account where external_id <= 'c001' for update")
        .execute(&mut *dying)
        .await
        .unwrap();

    let (outbox, options) = (books.outbox.clone(), books.options(month("2024-09")));
    let other = tokio::spawn(async move { month_close::run(&outbox, &options, &|_| ()).await });
    until(
        "four invoices and a closer that waits",
        PATIENCE,
        async || {
            let stands = "select (select count(*) from billing.invoice) || ' ' || count(*)
            from pg_stat_activity
            where wait_event_type = 'Lock' and datname = current_database()";
            (books.ask(stands).await == "4 1").then_some(())
        },
    )
    .await
    .unwrap();
    dying.rollback().await.unwrap();
    let closed = other.await.unwrap().unwrap();

    assert_eq!((closed.done.invoices, closed.run.state), (6, State::Closed));
    assert!(books.violated(Scope::Always).await.is_empty());
}

#[tokio::test]
async fn a_chunk_that_is_rolled_back_leaves_no_gap() {
    let books = Books::open().await;
    let september = month("2024-09");
    let accounts = books.customers(4, september).await;
    let options = books.options(september);
    let mut tx = books.begin().await;
    let run = month_close::start(&mut tx, september, options.as_of, options.now)
        .await
        .unwrap();
    tx.commit().await.unwrap();

    for chunk in [&accounts[..3], &accounts[1..]] {
        let mut tx = books.begin().await;
        month_close::close_chunk(&mut tx, &run, chunk, options.now)
            .await
            .unwrap();
        tx.rollback().await.unwrap();
    }
    month_close::close_accounts(&books.outbox, &run, &accounts[..1], &options)
        .await
        .unwrap();
    books.close(september).await;

    let numbers = "select string_agg(number::text, ' ' order by number) from billing.invoice";
    assert_eq!(books.ask(numbers).await, "1 2 3 4");
    assert!(books.violated(Scope::Always).await.is_empty());
}

#[tokio::test]
async fn three_finishers_at_once_complete_a_month_once() {
    let books = Books::open().await;
    let september = month("2024-09");
    let accounts = books.customers(3, september).await;
    let options = books.options(september);
    let mut tx = books.begin().await;
    let run = month_close::start(&mut tx, september, options.as_of, options.now)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    month_close::close_accounts(&books.outbox, &run, &accounts, &options)
        .await
        .unwrap();
    let finish = async || {
        let mut tx = books.begin().await;
        let run = month_close::finish(&mut tx, &run, options.now)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        run.state
    };

    let states = tokio::join!(finish(), finish(), finish());

    assert_eq!(states, (State::Closed, State::Closed, State::Closed));
    let completed = "select count(*) from outbox.event where topic = 'month_close.completed'";
    assert_eq!(books.ask(completed).await, "1");
}

#[tokio::test]
async fn a_close_is_not_finished_while_a_period_is_open() {
    let books = Books::open().await;
    let september = month("2024-09");
    let accounts = books.customers(2, september).await;
    let options = books.options(september);
    let mut tx = books.begin().await;
    let run = month_close::start(&mut tx, september, options.as_of, options.now)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    month_close::close_accounts(&books.outbox, &run, &accounts[..1], &options)
        .await
        .unwrap();

    let mut tx = books.begin().await;
    let unfinished = month_close::finish(&mut tx, &run, options.now)
        .await
        .unwrap();
    tx.commit().await.unwrap();

    assert_eq!(unfinished.state, State::Running);
    assert_eq!(
        books.ask("select state from billing.month_close").await,
        "running"
    );
}

#[tokio::test]
async fn posting_twice_moves_nothing_twice() {
    use billing::ledger::{self, Book, NewTransfer};
    use billing::money::{Currency, Money};

    let books = Books::open().await;
    let account = books.account("acme", "USD").await;
    let transfer = NewTransfer {
        source_kind: "invoice",
        source_id: outbox::ids::new(),
        debit: Book::Receivable,
        credit: Book::CustomerCredit,
        account: Some(account),
        money: Money::new(500, Currency::parse("USD").unwrap()),
    };
    let other = NewTransfer {
        source_id: outbox::ids::new(),
        ..transfer
    };

    let mut posted = Vec::new();
    for transfers in [
        vec![transfer, transfer],
        vec![transfer],
        vec![transfer, other],
        vec![other],
    ] {
        let mut tx = books.begin().await;
        let done = ledger::post_all(&mut tx, &transfers, outbox::clock::now()).await;
        match &done {
            Ok(()) => drop(tx.commit().await.unwrap()),
            Err(why) => assert!(matches!(why, ledger::PostError::Twice), "{why}"),
        }
        posted.push(done.is_ok());
    }

    assert_eq!(posted, [false, true, false, true]);
    let rows: BTreeMap<String, i64> =
        sqlx::query_as("select book, amount_minor from billing.balance")
            .fetch_all(books.pool())
            .await
            .unwrap()
            .into_iter()
            .collect();
    assert_eq!(
        rows,
        BTreeMap::from([
            ("receivable".into(), 1000),
            ("customer_credit".into(), 1000)
        ])
    );
    assert!(!books.violated(Scope::Always).await.contains(&"L3"));
}
