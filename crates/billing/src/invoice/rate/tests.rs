//! The rating rule, by example and by property.

use std::sync::Arc;

use chrono::NaiveDate;
use proptest::prelude::*;

use super::*;
use crate::ids::{AccountId, PriceId};

mod held;

fn month(n: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(2024, n, 1).unwrap()
}

fn header(currency: &str) -> Header {
    Header {
        account: AccountId::new(),
        external_id: "4711".to_owned(),
        customer_name: "Zenith".to_owned(),
        currency: currency.to_owned(),
        zone: "Europe/Budapest".to_owned(),
        period_seq: 0,
        month: month(9),
        start_at: "2024-08-31T22:00:00Z".parse().unwrap(),
        end_at: "2024-09-30T22:00:00Z".parse().unwrap(),
    }
}

/// Usage of a month at a price per unit.
fn per_unit(quantity: &str, rate: &str) -> Sum {
    let terms = Terms {
        price: PriceId::new(),
        code: "vm".to_owned(),
        description: "Small machine".to_owned(),
        model: "per_unit".to_owned(),
        currency: "USD".to_owned(),
        unit: "h".to_owned(),
        unit_price: Some(rate.to_owned()),
        monthly_price: None,
        cap_hours: None,
    };
    Sum {
        terms: Arc::new(terms),
        usage_month: month(9),
        quantity: quantity.to_owned(),
        amount: "0".to_owned(),
        events: 2,
        digest: 7,
    }
}

fn pass_through(amount: &str) -> Sum {
    let sum = priced(per_unit("1", "0"), |terms| {
        terms.model = "pass_through".to_owned();
        terms.unit_price = None;
    });
    Sum {
        amount: amount.to_owned(),
        ..sum
    }
}

/// The same usage at a price that says something else.
fn priced(mut sum: Sum, change: impl FnOnce(&mut Terms)) -> Sum {
    change(Arc::make_mut(&mut sum.terms));
    sum
}

fn in_currency(code: &str, sum: Sum) -> Sum {
    priced(sum, |terms| terms.currency = code.to_owned())
}

fn minor(code: &str, sum: Sum) -> i64 {
    let draft = rate(header(code), vec![in_currency(code, sum)], vec![]).unwrap();
    assert_eq!(draft.total, draft.lines[0].amount);
    draft.total.minor()
}

fn refused(sum: Sum) -> String {
    rate(header("USD"), vec![sum], vec![])
        .unwrap_err()
        .to_string()
}

#[test]
fn a_line_is_rate_times_quantity_rounded_once() {
    assert_eq!(minor("USD", per_unit("123456", "0.0004")), 49_38);
    assert_eq!(
        minor("USD", per_unit("0.333333333333", "0.000000000001")),
        0
    );
    assert_eq!(minor("USD", per_unit("72", "0.00744")), 54);
    assert_eq!(minor("JPY", per_unit("3", "0.5")), 2);
    assert_eq!(minor("KWD", per_unit("1", "1.2345")), 1_235);
}

#[test]
fn an_amount_is_passed_through_as_it_is() {
    assert_eq!(minor("USD", pass_through("19.994999999999")), 19_99);
    assert_eq!(minor("USD", pass_through("-0.10")), -10);
    assert_eq!(minor("USD", pass_through("0")), 0);
}

#[test]
fn half_a_cent_goes_away_from_zero() {
    for (amount, cents) in [
        ("0.005", 1),
        ("0.015", 2),
        ("0.025", 3),
        ("0.004999999999", 0),
        ("0.005000000001", 1),
        ("-0.005", -1),
        ("-0.025", -3),
        ("1.115", 112),
        ("2.675", 268),
    ] {
        assert_eq!(minor("USD", pass_through(amount)), cents, "{amount}");
    }
    assert_eq!(minor("USD", per_unit("0.5", "0.01")), 1);
    assert_eq!(minor("USD", per_unit("-1.5", "0.01")), -2);
}

#[test]
fn rounded_lines_are_added_and_not_the_sum_rounded() {
    let sums = vec![
        pass_through("0.005"),
        per_unit("0.5", "0.01"),
        pass_through("0.004"),
    ];

    let draft = rate(header("USD"), sums, vec![]).unwrap();

    assert_eq!(draft.subtotal.minor(), 2);
    assert_eq!(draft.lines.len(), 3, "a line of zero is a line");
}

#[test]
fn lines_stand_in_one_order_whatever_the_tables_answer() {
    let coded = |code: &str, month| Sum {
        usage_month: month,
        ..priced(per_unit("1", "0.1"), |terms| terms.code = code.to_owned())
    };
    let dear = priced(coded("a", month(9)), |terms| {
        terms.unit_price = Some("0.2".to_owned());
    });
    let sums = [
        coded("b", month(9)),
        dear,
        coded("z", month(8)),
        coded("a", month(9)),
    ];
    let shown = |sums: Vec<Sum>| -> Vec<_> {
        let lines = rate(header("USD"), sums, vec![]).unwrap().lines;
        lines
            .into_iter()
            .map(|line| (line.terms.code.clone(), line.amount.minor()))
            .collect()
    };

    let forth = shown(sums.to_vec());
    let back = shown(sums.iter().rev().cloned().collect());

    assert_eq!(forth, back);
    let codes: Vec<_> = forth
        .iter()
        .map(|(code, cents)| (code.as_str(), *cents))
        .collect();
    assert_eq!(codes, [("z", 10), ("a", 10), ("a", 20), ("b", 10)]);
}

#[test]
fn what_cannot_be_rated_says_what_to_mend() {
    let no_rate = priced(per_unit("1", "0"), |terms| terms.unit_price = None);
    let unknown = priced(per_unit("1", "0"), |terms| {
        terms.model = "tiered".to_owned()
    });
    let zoned = Header {
        zone: "Mars/Olympus".to_owned(),
        ..header("USD")
    };
    for (error, text) in [
        (
            refused(in_currency("EUR", per_unit("1", "1"))),
            "price vm is in EUR and the account is billed in USD: \
             rate this usage with a price in USD",
        ),
        (refused(no_rate), "price vm has no rate: give it one"),
        (
            refused(unknown),
            "price vm has the unknown model \"tiered\": correct the price or upgrade",
        ),
        (
            refused(per_unit("10000000000000000000000000000000", "0.1")),
            "price vm: 10000000000000000000000000000000 has more than 28 digits: \
             correct the usage or the rate",
        ),
        (
            refused(per_unit("1234567890123456.77", "1.234567890123")),
            "price vm: 1234567890123456.77 × 1.234567890123: the exact result has more than 28 \
             digits and would have to be rounded: correct the usage or the rate",
        ),
        (
            refused(per_unit("1000000000000", "100000")),
            "price vm: 1000000000000 × 100000: the amount does not fit into 63 bits of minor \
             units: correct the usage or the rate",
        ),
        (
            refused(pass_through("92233720368547758.08")),
            "price vm: the sum 92233720368547758.08: the amount does not fit into 63 bits of \
             minor units: correct the usage or the rate",
        ),
        (
            rate(header("XXX"), vec![], vec![]).unwrap_err().to_string(),
            "\"XXX\" is not a currency of ISO 4217: correct the account's currency",
        ),
        (
            rate(zoned, vec![], vec![]).unwrap_err().to_string(),
            "\"Mars/Olympus\" is not a time zone of the IANA database: correct the account's zone",
        ),
    ] {
        assert_eq!(error, text);
    }
}

#[test]
fn a_total_beyond_63_bits_is_refused() {
    let large = || pass_through("92233720368547758.07");

    let refused = rate(header("USD"), vec![large(), large()], vec![]);

    assert_eq!(refused, Err(RatingError::Total(MoneyError::Overflow)));
}

proptest! {
    #[test]
    fn a_credit_mirrors_its_charge(mantissa in 0_i64..1_000_000_000_000, scale in 0_u32..8) {
        let amount = Decimal::new(mantissa, scale);

        let charge = minor("USD", pass_through(&amount.to_string()));
        let credit = minor("USD", pass_through(&(-amount).to_string()));

        prop_assert_eq!(charge, -credit);
        let off = (Decimal::new(charge, 2) - amount).abs();
        prop_assert!(off <= Decimal::new(5, 3), "{} became {} cents", amount, charge);
    }
}
