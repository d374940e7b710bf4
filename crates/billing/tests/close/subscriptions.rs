//! Starting and ending what is billed for as long as an account has it.

use billing::check::Scope;
use billing::ids::{AccountId, PriceId, SubscriptionId};
use billing::subscription::{NewSubscription, SubscriptionError};

use crate::books::{Books, month};
use crate::hosting::{at, flat, hourly, new, until};

async fn hosted(books: &Books) -> (AccountId, PriceId) {
    let account = books.account("acme", "USD").await;
    (account, books.model("plan", "USD", flat("30")).await)
}

const STANDING: &str = "select string_agg(concat_ws(' ', external_id, quantity::real,
    to_char(start_at at time zone 'UTC', 'MM-DD HH24:MI'),
    to_char(end_at at time zone 'UTC', 'MM-DD HH24:MI')), ', ' order by external_id)
    from billing.subscription";
const TOLD: &str = "select string_agg(concat_ws(' ', topic, payload ->> 'external_id',
    left(payload ->> 'start_at', 10), left(payload ->> 'end_at', 10)), ', ' order by id)
    from outbox.event where topic like 'subscription.%'";
const MONTHS: &str = "select string_agg(concat_ws(' ', to_char(month, 'MM'), state), ', '
    order by account_id, seq) from billing.period";

#[tokio::test]
async fn a_subscription_is_started_once_by_its_name_and_told() {
    let books = Books::open().await;
    let plan = hosted(&books).await;
    let first = new(plan, "gold", "2024-09-10T00:00:00Z");
    let other = new(plan, "gold", "2024-10-01T00:00:00Z");
    let silver = until(
        "2024-12-01T00:00:00Z",
        new(plan, "silver", "2024-09-01T00:00:00Z"),
    );

    assert_eq!(
        books.start(&[first.clone(), other.clone()]).await.unwrap(),
        1
    );
    assert_eq!(books.start(&[other, silver, first]).await.unwrap(), 1);

    assert_eq!(
        books.ask(STANDING).await,
        "gold 1 09-10 00:00, silver 1 09-01 00:00 12-01 00:00"
    );
    assert_eq!(
        books.ask(TOLD).await,
        "subscription.started gold 2024-09-10, subscription.started silver 2024-09-01 2024-12-01"
    );
    assert_eq!(books.ask(MONTHS).await, "09 open");
    assert!(books.violated(Scope::Always).await.is_empty());
}

#[tokio::test]
async fn the_same_name_is_another_subscription_of_another_account() {
    let books = Books::open().await;
    let (account, price) = hosted(&books).await;
    let other = books.account("other", "USD").await;
    let gold = |account| new((account, price), "gold", "2024-09-10T00:00:00Z");

    assert_eq!(books.start(&[gold(account), gold(other)]).await.unwrap(), 2);
}

#[tokio::test]
async fn what_could_not_be_billed_is_not_started() {
    let books = Books::open().await;
    let (account, price) = hosted(&books).await;
    let hourly = books.model("vps", "USD", hourly("0.01", "5")).await;
    let yen = books.model("plan", "JPY", flat("30")).await;
    let used = books.price("vm", "USD", Some("1")).await;
    let plan = || new((account, price), "gold", "2024-09-10T00:00:00Z");
    let (account, several) = (AccountId::new(), "2".parse().unwrap());

    let refused = |new: NewSubscription| async { books.start(&[new]).await.unwrap_err() };
    let error = refused(NewSubscription { account, ..plan() }).await;
    assert!(matches!(error, SubscriptionError::NoAccount(_)));
    for price in [yen, used, PriceId::new()] {
        let error = refused(NewSubscription { price, ..plan() }).await;
        assert!(matches!(error, SubscriptionError::Price(_)), "{error}");
    }
    let twice = NewSubscription {
        price: hourly,
        quantity: several,
        ..plan()
    };
    assert!(matches!(
        refused(twice).await,
        SubscriptionError::Quantity(..)
    ));
    let none = NewSubscription {
        quantity: 0.into(),
        ..plan()
    };
    assert!(matches!(
        refused(none).await,
        SubscriptionError::Quantity(..)
    ));
    let fine = NewSubscription {
        quantity: "0.0000000000001".parse().unwrap(),
        ..plan()
    };
    assert!(matches!(
        refused(fine).await,
        SubscriptionError::Inexact(..)
    ));
    let unnamed = NewSubscription {
        external_id: "a\nb".to_owned(),
        ..plan()
    };
    assert!(matches!(
        refused(unnamed).await,
        SubscriptionError::ExternalId(..)
    ));
    let empty = until("2024-09-10T00:00:00.0000001Z", plan());
    assert!(matches!(refused(empty).await, SubscriptionError::Span(_)));
    assert_eq!(
        books.ask("select count(*) from billing.subscription").await,
        "0"
    );
    assert_eq!(books.ask("select count(*) from billing.period").await, "0");
}

#[tokio::test]
async fn nothing_starts_where_its_account_is_not_billed_any_more() {
    let books = Books::open().await;
    let plan = hosted(&books).await;
    books
        .start(&[new(plan, "gold", "2024-09-10T00:00:00Z")])
        .await
        .unwrap();
    let refused = |start: &'static str| {
        let late = new(plan, "late", start);
        let books = &books;
        async move { books.start(&[late]).await.unwrap_err().to_string() }
    };

    let before = refused("2024-08-31T21:59:59Z").await;
    books.close(month("2024-09")).await;
    let closed = refused("2024-09-30T21:59:59Z").await;

    let name = format!("account {} is not billed for", plan.0);
    assert_eq!(
        before,
        format!("{name} 2024-08-31 21:59:59 UTC any more: name 2024-08-31 22:00:00 UTC or later")
    );
    assert_eq!(
        closed,
        format!("{name} 2024-09-30 21:59:59 UTC any more: name 2024-09-30 22:00:00 UTC or later")
    );
    let open = new(plan, "late", "2024-09-30T22:00:00Z");
    assert_eq!(books.start(&[open]).await.unwrap(), 1);
    let again = new(plan, "gold", "2024-09-10T00:00:00Z");
    assert_eq!(
        books.start(&[again]).await.unwrap(),
        0,
        "it stands: nothing is refused"
    );
}

#[tokio::test]
async fn an_end_is_told_once_and_may_move_while_its_period_is_open() {
    let books = Books::open().await;
    let plan = hosted(&books).await;
    books
        .start(&[new(plan, "gold", "2024-09-10T00:00:00Z")])
        .await
        .unwrap();
    let gold = (plan.0, "gold");

    books.end(gold, "2024-12-01T00:00:00Z").await.unwrap();
    books.end(gold, "2024-12-01T00:00:00Z").await.unwrap();
    books.end(gold, "2024-09-20T00:00:00Z").await.unwrap();
    let span = books.end(gold, "2024-09-10T00:00:00Z").await;

    assert!(matches!(span, Err(SubscriptionError::Span(_))));
    assert_eq!(
        books.ask(TOLD).await,
        "subscription.started gold 2024-09-10, subscription.ended gold 2024-12-01, \
         subscription.ended gold 2024-09-20"
    );
    let closed = books.close(month("2024-09")).await;
    assert_eq!(closed.figures.invoiced[0].to_string(), "10.00 USD");
    for moved in ["2024-09-19T00:00:00Z", "2024-10-05T00:00:00Z"] {
        let refused = books.end(gold, moved).await;
        assert!(
            matches!(refused, Err(SubscriptionError::Closed { .. })),
            "{moved}"
        );
    }
    books.end(gold, "2024-09-20T00:00:00Z").await.unwrap();
    assert!(books.violated(Scope::Always).await.is_empty());
}

#[tokio::test]
async fn one_that_ended_with_its_last_month_can_still_be_prolonged() {
    let books = Books::open().await;
    let plan = hosted(&books).await;
    let ends = until(
        "2024-09-30T22:00:00Z",
        new(plan, "gold", "2024-09-01T00:00:00Z"),
    );
    books.start(&[ends]).await.unwrap();
    books.close(month("2024-09")).await;
    assert_eq!(books.ask(MONTHS).await, "09 billed");

    books
        .end((plan.0, "gold"), "2024-10-16T00:00:00Z")
        .await
        .unwrap();

    assert_eq!(books.ask(MONTHS).await, "09 billed, 10 open");
    let closed = books.close(month("2024-10")).await;
    assert_eq!(closed.figures.invoiced[0].to_string(), "14.52 USD");
    assert_eq!(books.ask(MONTHS).await, "09 billed, 10 billed");
    assert!(books.violated(Scope::Always).await.is_empty());
}

#[tokio::test]
async fn an_end_of_another_accounts_or_of_none_is_refused() {
    let books = Books::open().await;
    let plan = hosted(&books).await;
    let other = books.account("other", "USD").await;
    books
        .start(&[new(plan, "gold", "2024-09-10T00:00:00Z")])
        .await
        .unwrap();
    let end = at("2024-12-01T00:00:00Z");
    let gold = books.subscription("gold").await;

    for (account, id) in [(other, gold), (plan.0, SubscriptionId::new())] {
        let mut tx = books.begin().await;
        let refused = billing::subscription::end(&mut tx, account, id, end).await;
        assert!(matches!(refused, Err(SubscriptionError::Missing(missing)) if missing == id));
    }
    let mut tx = books.begin().await;
    let refused = billing::subscription::end(&mut tx, AccountId::new(), gold, end).await;
    assert!(matches!(refused, Err(SubscriptionError::NoAccount(_))));
}

#[tokio::test]
async fn neither_start_nor_end_commits_without_its_event() {
    let books = Books::open().await;
    let (account, price) = hosted(&books).await;
    books
        .start(&[new((account, price), "gold", "2024-09-10T00:00:00Z")])
        .await
        .unwrap();

    for silent in [
        "insert into billing.subscription (subscription_id, account_id, external_id, price_id,
            quantity, start_at, announced_by)
        select gen_random_uuid(), account_id, 'silver', price_id, 1, start_at, announced_by
        from billing.subscription",
        "update billing.subscription set end_at = '2024-12-01'",
        "update billing.subscription set end_at = '2024-12-01', ended_event = announced_by,
            ended_xid = pg_current_xact_id()",
    ] {
        let refused = sqlx::query(silent).execute(books.pool()).await.unwrap_err();
        let refused = refused.to_string();
        assert!(refused.contains("subscription"), "{refused}");
    }
    assert_eq!(books.ask(STANDING).await, "gold 1 09-10 00:00");
}
