//! Opening accounts with what they come with: as sets, and one command at a time.

use billing::account::{self, NewAccount};
use billing::check::Scope;
use billing::credit::{self, CreditError, NewCredit};
use billing::ids::{AccountId, CreditId, PriceId};
use billing::import::opening::{self, Opening, OpeningError};
use billing::money::Currency;
use billing::payment_method::{self, NewPaymentMethod};
use billing::period;
use billing::subscription::{self, SubscriptionError};
use billing::usage;
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use crate::books::{Books, month, usage_event};
use crate::hosting::{at, flat, hourly, new, until};
use crate::paying::money;

fn now() -> DateTime<Utc> {
    at("2024-09-02T10:17:33Z")
}

/// Prices of a scene: a plan, a server and usage, in dollars.
struct Prices([PriceId; 3]);

impl Prices {
    async fn of(books: &Books) -> Self {
        Self([
            books.model("plan", "USD", flat("19.99")).await,
            books.model("vps", "USD", hourly("0.00744", "5")).await,
            books.price("traffic", "USD", Some("0.01")).await,
        ])
    }
}

/// A customer with everything that one can come with; the id of what it used is its own.
fn customer(name: &str, Prices([plan, vps, traffic]): &Prices) -> Opening {
    let account_id = AccountId::new();
    let mut used = usage_event((account_id, *traffic), month("2024-09"), ("12.50", "0"));
    used.key.event_id = format!("{name}-1");
    let mut more = usage_event((account_id, *traffic), month("2024-08"), ("3", "0"));
    more.key.event_id = format!("{name}-2");
    used.body_hash = [7; 32];
    more.body_hash = [8; 32];
    Opening {
        account_id,
        account: NewAccount {
            external_id: name.to_owned(),
            name: format!("Žižka of {name}"),
            currency: Currency::parse("USD").unwrap(),
            zone: chrono_tz::America::New_York,
        },
        email: None,
        method: Some(NewPaymentMethod {
            account: account_id,
            gateway: "sim".to_owned(),
            token: "tok_approve".to_owned(),
            brand: "Visa".to_owned(),
            last_four: "4242".to_owned(),
        }),
        credit: Some(NewCredit {
            credit: CreditId::new(),
            account: account_id,
            money: money(1_500, "USD"),
            reason: "welcome".to_owned(),
        }),
        subscriptions: vec![
            new(
                (account_id, *plan),
                "gold",
                "2024-09-05T12:00:00.123456789Z",
            ),
            until(
                "2024-09-20T00:00:00Z",
                new((account_id, *vps), "web-1", "2024-09-05T12:00:00Z"),
            ),
        ],
        usage: vec![used, more],
    }
}

async fn open(books: &Books, openings: Vec<Opening>) -> Result<usize, OpeningError> {
    let mut tx = books.begin().await;
    let opened = opening::open_all(&mut tx, openings, month("2024-09"), now()).await?;
    tx.commit().await.map_err(|err| err.0)?;
    Ok(opened)
}

/// The same, a command for each.
async fn one_by_one(books: &Books, opening: Opening) {
    let mut tx = books.begin().await;
    let account = account::create(&mut tx, opening.account, now())
        .await
        .unwrap();
    let account = account.account_id;
    let first = [(account, month("2024-09"))].into();
    period::ensure_open(&mut tx, &first).await.unwrap();
    let method = NewPaymentMethod {
        account,
        ..opening.method.unwrap()
    };
    payment_method::add(&mut tx, method, now()).await.unwrap();
    let credit = NewCredit {
        account,
        ..opening.credit.unwrap()
    };
    credit::grant(&mut tx, credit, now()).await.unwrap();
    for mut new in opening.subscriptions {
        new.account = account;
        subscription::start_all(&mut tx, &[new]).await.unwrap();
    }
    for mut event in opening.usage {
        event.account_id = account;
        usage::record(&mut tx, &[event]).await.unwrap();
    }
    tx.commit().await.unwrap();
}

/// Everything there is, without the ids and instants that differ each time it is made.
async fn contents(books: &Books) -> Vec<String> {
    let mut contents = Vec::new();
    for rows in [
        "select external_id, name, currency, zone, status, email, created_at from billing.account",
        "select external_id, seq, month, start_at, end_at, period.zone, state
        from billing.period join billing.account using (account_id)",
        "select account.external_id, subscription.external_id, code, quantity, start_at, end_at
        from billing.subscription join billing.account using (account_id)
        join billing.price using (price_id)",
        "select external_id, gateway, token, brand, last_four, added_at, removed_at
        from billing.payment_method join billing.account using (account_id)",
        "select external_id, credit.currency, amount_minor, reason, granted_at
        from billing.credit join billing.account using (account_id)",
        "select external_id, source_kind, debit, credit, transfer.currency, amount_minor, at
        from billing.transfer left join billing.account using (account_id)",
        "select external_id, book, balance.currency, amount_minor
        from billing.balance join billing.account using (account_id)",
        "select external_id, source, event_id, body_hash, code, usage_month, period_seq, quantity,
            amount, used_at
        from billing.usage_event join billing.account using (account_id)
        join billing.price using (price_id)",
        "select external_id, period_seq, code, usage_month, trim_scale(quantity),
            trim_scale(amount), events, digest
        from billing.usage_sum join billing.account using (account_id)
        join billing.price using (price_id)",
        "select topic, schema_version, external_id, lane, actor, reason, payload::jsonb - array[
            'account_id', 'payment_method_id', 'subscription_id', 'credit_id', 'price_id']
        from outbox.event left join billing.account on account_id = key",
    ] {
        let rows = format!("select row_text::text from ({rows}) as row_text order by 1");
        let rows = sqlx::query_scalar(sqlx::AssertSqlSafe(rows));
        contents.extend(rows.fetch_all(books.pool()).await.unwrap());
    }
    contents
}

#[tokio::test]
async fn as_a_set_it_is_what_the_single_commands_make_of_it() {
    let (books, single) = (Books::open().await, Books::open().await);
    let prices = Prices::of(&books).await;
    let names = ["acme", "globex", "initech"];

    let openings = names.map(|name| customer(name, &prices));
    assert_eq!(open(&books, openings.into()).await.unwrap(), 3);
    let prices = Prices::of(&single).await;
    for name in names {
        one_by_one(&single, customer(name, &prices)).await;
    }

    assert_eq!(contents(&books).await, contents(&single).await);
    books.close(month("2024-09")).await;
    single.close(month("2024-09")).await;
    let lines = "select string_agg(concat_ws(' ', number, description, quantity, exact), ', '
        order by number, line_no) from billing.line join billing.invoice using (invoice_id)";
    assert_eq!(books.ask(lines).await, single.ask(lines).await);
    assert!(books.violated(Scope::Always).await.is_empty());
}

#[tokio::test]
async fn an_account_that_stands_stays_as_it_is() {
    let books = Books::open().await;
    let prices = Prices::of(&books).await;
    open(&books, vec![customer("acme", &prices)]).await.unwrap();
    let before = contents(&books).await;

    let mut other = customer("acme", &prices);
    other.account.name = "Another".to_owned();
    assert_eq!(open(&books, vec![other]).await.unwrap(), 0);

    assert_eq!(contents(&books).await, before);
    let both = vec![customer("acme", &prices), customer("globex", &prices)];
    assert_eq!(open(&books, both).await.unwrap(), 1);
    assert_eq!(books.ask("select count(*) from billing.account").await, "2");
}

#[tokio::test]
async fn of_two_who_open_an_account_at_once_one_is_refused() {
    let books = Books::open().await;
    let prices = Prices::of(&books).await;
    let (mut one, mut other) = (books.begin().await, books.begin().await);
    let open = |name| vec![customer(name, &prices)];

    let opened = opening::open_all(&mut one, open("acme"), month("2024-09"), now()).await;
    let (refused, ()) = tokio::join!(
        opening::open_all(&mut other, open("acme"), month("2024-09"), now()),
        async {
            books.somebody_waits().await;
            one.commit().await.unwrap();
        }
    );

    assert_eq!(opened.unwrap(), 1);
    let OpeningError::Account(refused) = refused.unwrap_err() else {
        panic!("refused for another reason");
    };
    let refused = std::error::Error::source(&refused).unwrap().to_string();
    assert!(refused.contains("account_external_id_key"), "{refused}");
    drop(other);
    assert_eq!(books.ask("select count(*) from billing.account").await, "1");
    assert_eq!(
        books.ask("select count(*) from billing.usage_event").await,
        "2"
    );
    assert!(books.violated(Scope::Always).await.is_empty());
}

#[tokio::test]
async fn what_could_not_be_billed_is_not_opened() {
    let books = Books::open().await;
    let prices = Prices::of(&books).await;
    let yen = books.model("plan", "JPY", flat("30")).await;
    let acme = || customer("acme", &prices);

    let mut dear = acme();
    dear.credit.as_mut().unwrap().money = money(1_500, "JPY");
    let refused = open(&books, vec![dear]).await.unwrap_err();
    assert!(matches!(
        refused,
        OpeningError::Credit(CreditError::Currency { .. })
    ));
    let mut foreign = acme();
    foreign.subscriptions[0].price = yen;
    let refused = open(&books, vec![foreign]).await.unwrap_err();
    assert!(matches!(
        refused,
        OpeningError::Subscription(SubscriptionError::Price(_))
    ));
    let mut several = acme();
    several.subscriptions[1].quantity = Decimal::TWO;
    let refused = open(&books, vec![several]).await.unwrap_err();
    assert!(matches!(
        refused,
        OpeningError::Subscription(SubscriptionError::Quantity(..))
    ));
    let mut ahead = acme();
    ahead.usage[0].usage_month = month("2024-10");
    let refused = open(&books, vec![ahead]).await.unwrap_err();
    assert!(matches!(refused, OpeningError::Ahead(id) if id == "acme-1"));
    assert_eq!(books.ask("select count(*) from billing.account").await, "0");
}

#[tokio::test]
async fn what_it_had_before_its_first_month_was_billed_elsewhere() {
    let books = Books::open().await;
    let prices = Prices::of(&books).await;
    let mut acme = customer("acme", &prices);
    (acme.usage, acme.credit) = (Vec::new(), None);
    for one in &mut acme.subscriptions {
        one.start_at = at("2024-07-01T00:30:00Z");
    }
    open(&books, vec![acme]).await.unwrap();

    books.close(month("2024-09")).await;

    // From 00:30 after midnight in New York on; the hour that had begun before was August's.
    let lines = "select string_agg(concat_ws(' ', description, quantity, amount_minor), ', '
        order by line_no) from billing.line";
    assert_eq!(
        books.ask(lines).await,
        "A plan, gold 1 1999, A vps, web-1 452 336"
    );
    assert!(books.violated(Scope::Always).await.is_empty());
}

#[tokio::test]
async fn what_is_still_to_come_is_waited_for() {
    let books = Books::open().await;
    let prices = Prices::of(&books).await;
    let mut acme = customer("acme", &prices);
    (acme.usage, acme.credit) = (Vec::new(), None);
    acme.subscriptions.truncate(1);
    acme.subscriptions[0].start_at = at("2024-11-16T05:00:00Z");
    open(&books, vec![acme]).await.unwrap();

    for closed in ["2024-09", "2024-10", "2024-11"] {
        books.close(month(closed)).await;
    }

    let months = "select string_agg(to_char(month, 'MM') || ' ' || state, ', ' order by seq)
        from billing.period";
    assert_eq!(
        books.ask(months).await,
        "09 empty, 10 empty, 11 billed, 12 open"
    );
    assert_eq!(
        books.ask("select description from billing.line").await,
        "A plan, gold, 15 of 30 days"
    );
    assert!(books.violated(Scope::Always).await.is_empty());
}
