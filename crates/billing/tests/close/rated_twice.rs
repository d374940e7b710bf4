//! The rule of subscriptions, written twice: in Rust for the close, in SQL for check M6.

use billing::account::NewAccount;
use billing::check::Scope;
use billing::ids::{AccountId, PriceId};
use billing::import::opening::{self, Opening};
use billing::money::Currency;
use billing::price::Model;
use billing::subscription::NewSubscription;
use chrono::{DateTime, Duration, Utc};
use chrono_tz::Tz;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use rust_decimal::Decimal;

use crate::books::{Books, month};
use crate::hosting::at;

const ACCOUNTS: usize = 150;
const CURRENCIES: [&str; 3] = ["USD", "JPY", "KWD"];
/// Of the north, the south, with half an hour, and one whose clocks change at midnight.
const ZONES: [Tz; 5] = [
    Tz::UTC,
    Tz::America__New_York,
    Tz::Australia__Lord_Howe,
    Tz::Asia__Kathmandu,
    Tz::America__Asuncion,
];

/// From months before the first to months after the last that is closed, now and then at an exact
/// boundary.
fn instants() -> impl Strategy<Value = DateTime<Utc>> {
    let first = at("2024-09-01T00:00:00Z");
    let seconds = -60 * 86_400_i64..150 * 86_400;
    prop_oneof![
        (seconds.clone(), 0..1_000_000_i64).prop_map(move |(seconds, micros)| {
            first + Duration::seconds(seconds) + Duration::microseconds(micros)
        }),
        seconds.prop_map(move |seconds| first + Duration::seconds(seconds / 3_600 * 3_600)),
        (0_u32..4, 0_usize..ZONES.len()).prop_map(|(nth, zone)| {
            let date = month("2024-09") + chrono::Months::new(nth);
            billing::period::start_of(date, ZONES[zone])
        }),
    ]
}

fn lives() -> impl Strategy<Value = (DateTime<Utc>, Option<DateTime<Utc>>)> {
    let ends = proptest::option::of(instants());
    (instants(), ends).prop_map(|(start, end)| (start, end.filter(|end| *end > start)))
}

/// Quantity (of what is flat), decimals of it, and life.
type Wanted = (usize, i64, u32, (DateTime<Utc>, Option<DateTime<Utc>>));

fn customers() -> impl Strategy<Value = (usize, usize, Vec<Wanted>)> {
    let wanted = (0_usize..6, 1_i64..2_000, 0_u32..4, lives());
    (
        0..CURRENCIES.len(),
        0..ZONES.len(),
        proptest::collection::vec(wanted, 0..5),
    )
}

/// Three flat prices and three hourly ones of a currency, with rates of any length.
async fn prices(books: &Books, currency: &str) -> Vec<PriceId> {
    let decimal = |text: &str| text.parse::<Decimal>().unwrap();
    let mut prices = Vec::new();
    for (code, rate) in [("a", "19.99"), ("b", "0.333333333333"), ("c", "1234.5")] {
        let unit_price = decimal(rate);
        prices.push(
            books
                .model(code, currency, Model::Flat { unit_price })
                .await,
        );
    }
    for (code, rate, monthly, cap_hours) in [
        ("d", "0.00744", "5", 672),
        ("e", "0.123456789012", "9.995", 100),
        ("f", "0.0005", "7.5", 700),
    ] {
        let model = Model::HourlyCapped {
            unit_price: decimal(rate),
            monthly_price: decimal(monthly),
            cap_hours,
        };
        prices.push(books.model(code, currency, model).await);
    }
    prices
}

fn opening(
    name: usize,
    prices: &[Vec<PriceId>],
    (currency, zone, wanted): (usize, usize, Vec<Wanted>),
) -> Opening {
    let account = AccountId::new();
    let subscriptions = wanted.into_iter().zip(0..);
    let subscription = |((price, quantity, scale, (start_at, end_at)), nth): (Wanted, i32)| {
        let is_flat = price < 3;
        NewSubscription {
            account,
            external_id: format!("Gerät {nth}"),
            price: prices[currency][price],
            quantity: if is_flat {
                Decimal::new(quantity, scale)
            } else {
                Decimal::ONE
            },
            start_at,
            end_at,
        }
    };
    Opening {
        account_id: account,
        account: NewAccount {
            external_id: format!("{name:03}"),
            name: "Žižka".to_owned(),
            currency: Currency::parse(CURRENCIES[currency]).unwrap(),
            zone: ZONES[zone],
        },
        email: None,
        method: None,
        credit: None,
        subscriptions: subscriptions.map(subscription).collect(),
        usage: Vec::new(),
    }
}

#[tokio::test]
async fn what_a_close_bills_for_any_subscriptions_is_what_m6_expects() {
    let books = Books::open().await;
    let mut all = Vec::new();
    for currency in CURRENCIES {
        all.push(prices(&books, currency).await);
    }
    let mut random = TestRunner::deterministic();
    let openings = (0..ACCOUNTS).map(|name| {
        let customer = customers().new_tree(&mut random).unwrap().current();
        opening(name, &all, customer)
    });
    let openings = openings.collect();
    let mut tx = books.begin().await;
    opening::open_all(&mut tx, openings, month("2024-09"), outbox::clock::now())
        .await
        .unwrap();
    tx.commit().await.unwrap();

    for closed in ["2024-09", "2024-10", "2024-11", "2024-12"] {
        let closed = books.close(month(closed)).await;
        assert_eq!(closed.figures.exceptions, 0);
        assert!(books.violated(Scope::Always).await.is_empty());
    }

    let lines = "select count(*) filter (where model = 'flat') >= 100
            and count(*) filter (where description like '% days') >= 50
            and count(*) filter (where model <> 'flat') >= 100
            and count(*) filter (where description like '% a month') >= 50
            and count(*) filter (where model <> 'flat' and quantity < 600) >= 50
        from billing.line";
    assert_eq!(
        books.ask(lines).await,
        "true",
        "all kinds of lines are there"
    );
}
