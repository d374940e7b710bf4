//! The lines of subscriptions, by example and by property.

use chrono::{DateTime, Duration, Months, NaiveDate, TimeZone, Utc};
use chrono_tz::Tz;

use super::*;
use crate::ids::SubscriptionId;
use crate::period::{month_after, start_of};

mod by_property;
mod of_the_field;

fn at(instant: &str) -> DateTime<Utc> {
    instant.parse().unwrap()
}

/// A period of New York, from its month's first midnight to the next month's.
fn period(month: NaiveDate, currency: &str) -> Header {
    Header {
        zone: "America/New_York".to_owned(),
        month,
        start_at: start_of(month, Tz::America__New_York),
        end_at: start_of(month_after(month), Tz::America__New_York),
        ..header(currency)
    }
}

/// A subscription of one at a price of `model`: per month and flat without a cap, else hourly.
fn held(rate: &str, cap: Option<(&str, i32)>, start_at: &str) -> Held {
    let Sum { terms, .. } = priced(per_unit("1", rate), |terms| {
        terms.model = cap.map_or("flat", |_| "hourly_capped").to_owned();
        terms.monthly_price = cap.map(|(monthly, _)| monthly.to_owned());
        terms.cap_hours = cap.map(|(_, hours)| hours);
    });
    Held {
        terms,
        subscription: SubscriptionId::new(),
        name: "web-1".to_owned(),
        quantity: "1".to_owned(),
        start_at: at(start_at),
        end_at: None,
    }
}

fn flat(rate: &str, start_at: &str) -> Held {
    held(rate, None, start_at)
}

/// $5 a month, $0.00744 an hour.
fn server(start_at: &str) -> Held {
    held("0.00744", Some(("5", 672)), start_at)
}

fn until(end_at: DateTime<Utc>, held: Held) -> Held {
    Held {
        end_at: Some(end_at),
        ..held
    }
}

fn named(name: &str, held: Held) -> Held {
    Held {
        name: name.to_owned(),
        ..held
    }
}

fn at_price(mut held: Held, change: impl FnOnce(&mut Terms)) -> Held {
    change(Arc::make_mut(&mut held.terms));
    held
}

fn lines(header: &Header, held: Vec<Held>) -> Vec<Line> {
    rate(header.clone(), vec![], held).unwrap().lines
}

fn minor_of(header: &Header, held: Held) -> i64 {
    let held = at_price(held, |terms| terms.currency = header.currency.clone());
    rate(header.clone(), vec![], vec![held])
        .unwrap()
        .total
        .minor()
}

fn march() -> Header {
    period("2026-03-01".parse().unwrap(), "USD")
}

#[test]
fn a_server_costs_its_hours_and_never_more_than_a_month() {
    for (hours, cents) in [
        (0, None),
        (1, Some(1)),
        (72, Some(54)),
        (336, Some(2_50)),
        (671, Some(4_99)),
        (672, Some(5_00)),
        (743, Some(5_00)),
    ] {
        let header = march();
        let gone = header.start_at + Duration::hours(hours);
        let server = until(gone, server("2026-03-01T05:00:00Z"));

        let amounts = lines(&header, vec![server]);
        let amounts = amounts.iter().map(|line| line.amount.minor());

        assert_eq!(
            Vec::from_iter(amounts),
            Vec::from_iter(cents),
            "{hours} hours"
        );
    }
}

#[test]
fn a_month_is_paid_from_the_cap_on_even_where_its_hours_cost_less() {
    let cheap = |hours| {
        let gone = march().start_at + Duration::hours(hours);
        let server = held("0.001", Some(("5", 672)), "2026-03-01T05:00:00Z");
        minor_of(&march(), until(gone, server))
    };

    assert_eq!((cheap(671), cheap(672)), (67, 5_00));
}

#[test]
fn a_short_dear_life_costs_a_month_and_says_so() {
    let gone = march().start_at + Duration::hours(100);
    let server = held("0.0600", Some(("5.00", 672)), "2026-03-01T05:00:00Z");

    let lines = lines(&march(), vec![until(gone, server)]);

    assert_eq!(
        (lines[0].amount.minor(), lines[0].quantity),
        (5_00, 100.into())
    );
    assert_eq!(lines[0].exact, 5.into());
    assert_eq!(
        lines[0].description(),
        "Small machine, web-1, at the price of a month"
    );
}

#[test]
fn an_hour_belongs_to_the_month_in_which_it_begins() {
    // Created half an hour before March: the hour that has begun is February's.
    let server = || until(at("2026-03-01T06:00:00Z"), server("2026-03-01T04:30:00Z"));
    let hours = |month: &str| {
        let lines = lines(&period(month.parse().unwrap(), "USD"), vec![server()]);
        Vec::from_iter(lines.iter().map(|line| line.quantity.to_string()))
    };

    assert_eq!(hours("2026-02-01"), ["1"]);
    assert_eq!(hours("2026-03-01"), ["1"]);
    let short = until(at("2026-03-01T05:20:00Z"), server());
    assert_eq!(lines(&march(), vec![short]), [], "all of it was February's");
}

#[test]
fn a_started_microsecond_is_a_started_hour() {
    let lived = |micros| {
        let server = server("2026-03-05T10:17:33.000001Z");
        let gone = server.start_at + Duration::microseconds(micros);
        lines(&march(), vec![until(gone, server)])[0].quantity
    };

    assert_eq!(lived(1), 1.into());
    assert_eq!(lived(3_600_000_000), 1.into());
    assert_eq!(lived(3_600_000_001), 2.into());
}

#[test]
fn a_month_is_as_long_as_its_clocks_make_it() {
    let hours = |month: &str| {
        let server = server("2025-01-01T05:00:00Z");
        lines(&period(month.parse().unwrap(), "USD"), vec![server])[0].quantity
    };

    assert_eq!(hours("2026-03-01"), 743.into(), "an hour is skipped");
    assert_eq!(hours("2025-11-01"), 721.into(), "an hour comes twice");
    assert_eq!(hours("2028-02-01"), (29 * 24).into());
}

#[test]
fn a_flat_month_is_charged_by_civil_days() {
    // The clocks change on the 8th: by elapsed time it would be 9.97.
    let ten_days = until(
        at("2026-03-11T04:00:00Z"),
        flat("31", "2026-01-01T05:00:00Z"),
    );

    let lines = lines(&march(), vec![ten_days]);

    assert_eq!(lines[0].amount.minor(), 10_00);
    assert_eq!(
        lines[0].description(),
        "Small machine, web-1, 10 of 31 days"
    );
    let served = lines[0].served.as_ref().unwrap();
    assert_eq!(served.from, at("2026-03-01T05:00:00Z"));
    assert_eq!(served.until, at("2026-03-11T04:00:00Z"));
}

#[test]
fn a_whole_month_costs_its_price_and_keeps_its_decimals_until_it_is_rounded() {
    let plan = Held {
        quantity: "3".to_owned(),
        ..flat("0.333", "2026-03-01T05:00:00Z")
    };

    let lines = lines(&march(), vec![plan]);

    assert_eq!(
        (lines[0].exact.to_string(), lines[0].amount.minor()),
        ("0.999".into(), 1_00)
    );
    assert_eq!(lines[0].description(), "Small machine, web-1");
}

#[test]
fn the_first_day_counts_and_the_last_does_not() {
    let noon = "2026-03-05T17:00:00Z";
    let days = |from: &str, until_at: &str| {
        let lines = lines(&march(), vec![until(at(until_at), flat("31", from))]);
        lines.first().map(|line| line.amount.minor() / 100)
    };

    assert_eq!(
        days(noon, "2026-03-06T04:59:00Z"),
        None,
        "it came and went on one day"
    );
    assert_eq!(days(noon, "2026-03-06T05:00:00Z"), Some(1));
    assert_eq!(days(noon, "2026-04-01T04:00:00Z"), Some(27));
    assert_eq!(days("2026-02-01T05:00:00Z", noon), Some(4));
}

#[test]
fn decimals_are_those_of_the_currency() {
    let part = |currency, rate: &str| {
        let plan = until(
            at("2026-03-11T04:00:00Z"),
            flat(rate, "2026-01-01T05:00:00Z"),
        );
        minor_of(&period("2026-03-01".parse().unwrap(), currency), plan)
    };
    assert_eq!(part("JPY", "1000"), 323);
    assert_eq!(part("KWD", "1"), 323);
    assert_eq!(part("USD", "10"), 3_23);

    let dear = |currency, rate: &str, monthly: &str| {
        let gone = at("2026-03-02T05:00:00Z");
        let server = held(rate, Some((monthly, 672)), "2026-03-01T05:00:00Z");
        minor_of(
            &period("2026-03-01".parse().unwrap(), currency),
            until(gone, server),
        )
    };
    assert_eq!(dear("JPY", "31.4", "20000"), 754);
    assert_eq!(dear("JPY", "1000", "20000"), 20_000);
    assert_eq!(dear("KWD", "0.0123456", "9.999"), 296);
}

#[test]
fn what_an_account_did_not_have_in_the_month_is_not_on_its_invoice() {
    let gone = until(march().start_at, flat("31", "2026-01-01T05:00:00Z"));
    let to_come = server("2026-04-01T04:00:00Z");

    let draft = rate(march(), vec![], vec![gone, to_come]).unwrap();

    assert_eq!((draft.lines.len(), draft.total.minor()), (0, 0));
}

#[test]
fn servers_of_one_price_stand_in_the_order_of_their_names() {
    let vm = |name: &str| named(name, server("2026-01-01T05:00:00Z"));
    let shown = |held: Vec<Held>| {
        let terms = Arc::clone(&held[0].terms);
        let held = held.into_iter().map(|one| Held {
            terms: Arc::clone(&terms),
            ..one
        });
        let used = Sum {
            usage_month: march().month,
            ..per_unit("1", "0.00744")
        };
        let draft = rate(march(), vec![used], held.collect()).unwrap();
        let texts = draft
            .lines
            .iter()
            .map(|line| line.description().into_owned());
        Vec::from_iter(texts)
    };

    let expected = [
        "Small machine, a, at the price of a month",
        "Small machine, b, at the price of a month",
        "Small machine, ö, at the price of a month",
        "Small machine",
    ];
    assert_eq!(shown(vec![vm("b"), vm("ö"), vm("a")]), expected);
    assert_eq!(shown(vec![vm("a"), vm("b"), vm("ö")]), expected);
}

#[test]
fn a_subscription_that_cannot_be_rated_says_what_to_mend() {
    let server = || server("2026-01-01T05:00:00Z");
    let several = Held {
        quantity: "2".to_owned(),
        ..server()
    };
    for (held, text) in [
        (
            several,
            "price vm is by the hour, for one: make it a subscription for each",
        ),
        (
            at_price(server(), |terms| terms.cap_hours = None),
            "price vm is by the hour and lacks its monthly price: give it one",
        ),
        (
            at_price(server(), |terms| terms.monthly_price = None),
            "price vm is by the hour and lacks its monthly price: give it one",
        ),
        (
            at_price(server(), |terms| terms.unit_price = None),
            "price vm has no rate: give it one",
        ),
        (
            at_price(server(), |terms| terms.model = "per_unit".to_owned()),
            "price vm has the unknown model \"per_unit\": correct the price or upgrade",
        ),
        (
            at_price(server(), |terms| terms.currency = "EUR".to_owned()),
            "price vm is in EUR and the account is billed in USD: \
             rate this usage with a price in USD",
        ),
        (
            at_price(flat("1", "2026-01-01T05:00:00Z"), |terms| {
                terms.unit_price = Some("92233720368547758.08".to_owned());
            }),
            "price vm: 1 × 92233720368547758.08: the amount does not fit into 63 bits of minor \
             units: correct the usage or the rate",
        ),
    ] {
        assert_eq!(
            rate(march(), vec![], vec![held]).unwrap_err().to_string(),
            text
        );
    }
}

#[test]
fn a_zone_that_changed_leaves_no_day_out() {
    // The period began in Budapest, whose first of October is still September in New York.
    let header = Header {
        start_at: at("2024-09-30T22:00:00Z"),
        end_at: Tz::America__New_York
            .with_ymd_and_hms(2024, 11, 1, 0, 0, 0)
            .unwrap()
            .to_utc(),
        ..period(month(10), "USD")
    };
    let change = at("2024-10-16T12:00:00Z");

    let old = until(change, flat("32", "2024-01-01T00:00:00Z"));
    let new = flat("32", "2024-10-16T12:00:00Z");
    let draft = rate(header, vec![], vec![named("a", old), named("b", new)]).unwrap();

    let amounts = draft.lines.iter().map(|line| line.amount.minor());
    assert_eq!(Vec::from_iter(amounts), [16_00, 16_00]);
}
