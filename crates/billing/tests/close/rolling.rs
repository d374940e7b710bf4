//! Months that follow one another as long as something goes on.

use billing::check::Scope;
use billing::month_close::{self, Options};

use crate::books::{Books, month};
use crate::hosting::{flat, new, until};

const MONTHS: &str = "select string_agg(concat_ws(' ', external_id, months), ', '
        order by external_id)
    from (
        select external_id, string_agg(to_char(month, 'MM') || ' ' || state, ' ' order by seq)
            as months
        from billing.period join billing.account using (account_id)
        group by external_id
    ) as period";

#[tokio::test]
async fn a_close_opens_the_next_month_once_however_many_closers_close_it() {
    let books = Books::open().await;
    let september = month("2024-09");
    let price = books.model("plan", "USD", flat("30")).await;
    let mut plans = Vec::new();
    for name in ["a", "b", "c", "d", "e", "f", "g"] {
        let account = books.account(name, "USD").await;
        plans.push(new((account, price), "gold", "2024-09-01T00:00:00Z"));
    }
    books.start(&plans).await.unwrap();
    let options = Options {
        chunk: 2,
        ..books.options(september)
    };
    let close = || month_close::run(&books.outbox, &options, &|_| ());

    let (a, b, c) = tokio::join!(close(), close(), close());
    for closed in [a, b, c, close().await] {
        assert_eq!(closed.unwrap().figures.invoices, 7);
    }

    let each = ["a", "b", "c", "d", "e", "f", "g"].map(|name| format!("{name} 09 billed 10 open"));
    assert_eq!(books.ask(MONTHS).await, each.join(", "));
    assert_eq!(books.close(month("2024-10")).await.figures.invoices, 7);
    assert!(books.violated(Scope::Always).await.is_empty());
}

#[tokio::test]
async fn nothing_follows_what_has_ended() {
    let books = Books::open().await;
    let price = books.model("plan", "USD", flat("30")).await;
    let mut plans = Vec::new();
    for (name, end) in [
        ("before", "2024-09-20T00:00:00Z"),
        ("with", "2024-09-30T22:00:00Z"),
        ("after", "2024-09-30T22:00:00.000001Z"),
    ] {
        let account = books.account(name, "USD").await;
        plans.push(until(
            end,
            new((account, price), "gold", "2024-09-01T00:00:00Z"),
        ));
    }
    books.start(&plans).await.unwrap();

    books.close(month("2024-09")).await;

    assert_eq!(
        books.ask(MONTHS).await,
        "after 09 billed 10 open, before 09 billed, with 09 billed"
    );
    let october = books.close(month("2024-10")).await.figures;
    assert_eq!(
        (october.invoices, october.empty),
        (0, 1),
        "a microsecond is no civil day"
    );
    assert!(books.violated(Scope::Always).await.is_empty());
}

#[tokio::test]
async fn a_month_that_usage_has_opened_already_is_not_opened_again() {
    let books = Books::open().await;
    let price = books.model("plan", "USD", flat("30")).await;
    let account = books.account("acme", "USD").await;
    let vm = books.price("vm", "USD", Some("1")).await;
    books
        .start(&[new((account, price), "gold", "2024-09-01T00:00:00Z")])
        .await
        .unwrap();
    books
        .used((account, vm), month("2024-11"), ("1", "0"))
        .await;

    for (closed, months) in [
        ("2024-09", "acme 09 billed 10 open 11 open"),
        ("2024-10", "acme 09 billed 10 billed 11 open"),
        ("2024-11", "acme 09 billed 10 billed 11 billed 12 open"),
    ] {
        books.close(month(closed)).await;
        assert_eq!(books.ask(MONTHS).await, months);
    }
    assert_eq!(
        books
            .ask("select sum(total_minor) from billing.invoice")
            .await,
        "9100"
    );
    assert!(books.violated(Scope::Always).await.is_empty());
}

#[tokio::test]
async fn a_new_zone_takes_effect_with_the_month_that_follows() {
    let books = Books::open().await;
    let price = books.model("plan", "USD", flat("31")).await;
    let account = books.account("acme", "USD").await;
    books
        .start(&[new((account, price), "gold", "2024-09-01T00:00:00Z")])
        .await
        .unwrap();
    books
        .run("update billing.account set zone = 'America/New_York'")
        .await;

    books.close(month("2024-09")).await;
    books.close(month("2024-10")).await;

    let bounds = "select string_agg(to_char(start_at at time zone 'UTC', 'MM-DD HH24')
        || ' ' || zone, ', ' order by seq) from billing.period";
    assert_eq!(
        books.ask(bounds).await,
        "08-31 22 Europe/Budapest, 09-30 22 America/New_York, 11-01 04 America/New_York"
    );
    let totals = "select string_agg(total_minor::text, ' ' order by number) from billing.invoice";
    assert_eq!(books.ask(totals).await, "3100 3100");
    assert!(books.violated(Scope::Always).await.is_empty());
}

#[tokio::test]
async fn a_month_that_is_an_exception_is_followed_once_it_is_mended() {
    let books = Books::open().await;
    let price = books.model("plan", "USD", flat("30")).await;
    let (acme, other) = (
        books.account("acme", "USD").await,
        books.account("other", "USD").await,
    );
    let gold = |account| new((account, price), "gold", "2024-09-01T00:00:00Z");
    books.start(&[gold(acme), gold(other)]).await.unwrap();
    books
        .run("update billing.account set currency = 'XXX' where external_id = 'acme'")
        .await;
    for closed in ["2024-09", "2024-10"] {
        books.close(month(closed)).await;
    }
    assert_eq!(
        books.ask(MONTHS).await,
        "acme 09 open, other 09 billed 10 billed 11 open"
    );

    books
        .run("update billing.account set currency = 'USD'")
        .await;
    books.close(month("2024-09")).await;
    assert!(
        books.violated(Scope::Always).await.is_empty(),
        "October is younger than its close"
    );
    books.close(month("2024-10")).await;

    assert_eq!(
        books.ask(MONTHS).await,
        "acme 09 billed 10 billed 11 open, other 09 billed 10 billed 11 open"
    );
    assert!(books.violated(Scope::Always).await.is_empty());
}
