//! A close that is disturbed or ends too early.

use std::sync::atomic::{AtomicU32, Ordering};

use billing::check::Scope;
use billing::month_close::{self, Options, State};
use billing::usage;

use crate::books::{Books, month, usage_event};

#[tokio::test]
async fn a_close_that_dies_after_any_chunk_goes_on_where_it_stopped() {
    let books = Books::open().await;
    books.customers(20, month("2024-09")).await;
    let options = Options {
        chunk: 3,
        ..books.options(month("2024-09"))
    };

    for chunks in [1, 2, 3] {
        let (outbox, options) = (books.outbox.clone(), options.clone());
        let dying = tokio::spawn(async move {
            let left = AtomicU32::new(chunks);
            let die = |_| assert!(left.fetch_sub(1, Ordering::Relaxed) > 1, "killed");
            month_close::run(&outbox, &options, &die).await
        });
        assert!(dying.await.unwrap_err().is_panic());
    }
    assert_ne!(books.ask("select count(*) from billing.invoice").await, "0");
    let closed = month_close::run(&books.outbox, &options, &|_| ())
        .await
        .unwrap();

    assert_eq!(closed.run.state, State::Closed);
    assert_eq!(closed.figures.invoices, 20);
    assert!(books.violated(Scope::Always).await.is_empty());
}

#[tokio::test]
async fn trouble_that_passes_is_tried_again() {
    let books = Books::open().await;
    books.customers(4, month("2024-09")).await;
    // A sequence keeps counting when its transaction is rolled back.
    books
        .run(
            "create sequence billing.trouble;
            create function billing.make_trouble() returns trigger language plpgsql as $$ begin
                if nextval('billing.trouble') < 4 then
                    raise 'two of us wait for each other' using errcode = 'deadlock_detected';
                end if;
                return null;
            end $$;
            create trigger trouble after insert on billing.line
                for each statement execute function billing.make_trouble()",
        )
        .await;

    let closed = books.close(month("2024-09")).await;

    assert_eq!((closed.done.invoices, closed.done.exceptions), (4, 0));
    assert_eq!(
        books.ask("select max(number) from billing.invoice").await,
        "4"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_that_arrives_during_the_close_is_billed_once() {
    let books = Books::open().await;
    let september = month("2024-09");
    let accounts = books.customers(30, september).await;
    let price = books.price("vm", "USD", Some("0.25")).await;
    let options = Options {
        chunk: 4,
        ..books.options(september)
    };
    let meter = async {
        for account in accounts.iter().rev().chain(&accounts) {
            let mut tx = books.begin().await;
            let used = usage_event((*account, price), september, ("1", "0"));
            usage::record(&mut tx, &[used]).await.unwrap();
            tx.commit().await.unwrap();
        }
    };

    let (closed, ()) = tokio::join!(month_close::run(&books.outbox, &options, &|_| ()), meter);

    assert_eq!(closed.unwrap().figures.invoices, 30);
    assert!(books.violated(Scope::Always).await.is_empty());
    // What came too late for September is on October's invoices.
    if books
        .ask("select count(*) from billing.period where month = '2024-10-01'")
        .await
        != "0"
    {
        books.close(month("2024-10")).await;
    }
    let billed = "select sum(quantity) || ' ' || sum(usage_events) from billing.line";
    let used: u32 = (1..=30).sum::<u32>() + 60;
    assert_eq!(books.ask(billed).await, format!("{used} 90"));
    assert!(books.violated(Scope::Always).await.is_empty());
}
