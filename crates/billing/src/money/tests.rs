//! The rules of money, as properties and as figures worked by hand.

use proptest::prelude::*;

use super::*;

fn dec(digits: &str) -> Decimal {
    digits.parse().unwrap()
}

fn currency(code: &str) -> Currency {
    Currency::parse(code).unwrap()
}

fn rounded(exact: &str, code: &str) -> String {
    Money::round(dec(exact), currency(code)).unwrap().decimal()
}

#[test]
fn half_a_cent_rounds_away_from_zero() {
    assert_eq!(rounded("0.005", "USD"), "0.01");
    assert_eq!(rounded("-0.005", "USD"), "-0.01");
    assert_eq!(rounded("0.015", "USD"), "0.02");
    assert_eq!(rounded("0.025", "USD"), "0.03");
    assert_eq!(rounded("2.675", "USD"), "2.68");
    assert_eq!(rounded("0.0049999999999999999999999999", "USD"), "0.00");
}

#[test]
fn each_currency_rounds_to_its_own_minor_unit() {
    assert_eq!(rounded("2564.5", "JPY"), "2565");
    assert_eq!(rounded("2564.5", "HUF"), "2564.50");
    assert_eq!(rounded("1.2345", "KWD"), "1.235");
    assert_eq!(rounded("1.23445", "CLF"), "1.2345");
    assert_eq!(rounded("-0.4", "JPY"), "0");
}

#[test]
fn worked_figures_come_out() {
    let charge = |rate, quantity| exact_mul(dec(rate), dec(quantity)).unwrap().to_string();

    assert_eq!(charge("0.0004", "123456"), "49.3824");
    assert_eq!(rounded("49.3824", "USD"), "49.38");
    assert_eq!(rounded(&charge("0.00744", "72"), "USD"), "0.54");
    assert_eq!(rounded(&charge("0.00744", "336"), "USD"), "2.50");
    assert_eq!(rounded(&charge("0.00744", "671"), "USD"), "4.99");
}

#[test]
fn days_of_a_month_split_to_the_cent() {
    let march = Money::new(3100, currency("USD"));

    let parts = march.split(&[10, 21]).unwrap();

    assert_eq!(
        parts.iter().map(|part| part.minor()).collect::<Vec<_>>(),
        [1000, 2100]
    );
    assert_eq!(march.split(&[0, 0]), Err(MoneyError::Weights));
    assert_eq!(march.split(&[u64::MAX]), Err(MoneyError::Weights));
}

#[test]
fn currencies_do_not_mix() {
    let (usd, eur) = (currency("USD"), currency("EUR"));

    let refused = Money::new(1, usd).add(Money::new(1, eur));

    assert_eq!(refused, Err(MoneyError::MixedCurrencies(usd, eur)));
}

#[test]
fn an_overflow_is_an_error() {
    let (usd, most) = (currency("USD"), i64::MAX);

    assert_eq!(
        Money::new(most, usd).add(Money::new(1, usd)),
        Err(MoneyError::Overflow)
    );
    assert_eq!(Money::new(i64::MIN, usd).neg(), Err(MoneyError::Overflow));
    assert_eq!(Money::round(Decimal::MAX, usd), Err(MoneyError::Overflow));
    assert_eq!(
        Money::round(dec("92233720368547758.075"), usd),
        Err(MoneyError::Overflow)
    );
    assert_eq!(
        Money::round(dec("92233720368547758.074"), usd)
            .unwrap()
            .minor(),
        most
    );
}

#[test]
fn only_currencies_with_a_minor_unit_are_accepted() {
    for code in ["usd", "US", "XAU", "XXX", "ABC", ""] {
        assert_eq!(
            Currency::parse(code),
            Err(MoneyError::UnknownCurrency(code.to_owned()))
        );
    }
    let exponents = ["JPY", "USD", "KWD", "CLF"].map(|code| currency(code).exponent());
    assert_eq!(exponents, [0, 2, 3, 4]);
}

#[test]
fn amounts_read_as_people_write_them() {
    let show = |minor, code| Money::new(minor, currency(code)).to_string();

    assert_eq!(show(-5, "USD"), "-0.05 USD");
    assert_eq!(show(123_456, "EUR"), "1234.56 EUR");
    assert_eq!(show(7, "JPY"), "7 JPY");
    assert_eq!(show(1, "KWD"), "0.001 KWD");
    assert_eq!(show(i64::MIN, "USD"), "-92233720368547758.08 USD");
}

/// The control: what the decimals' own arithmetic does with digits that it cannot hold.
#[test]
fn decimals_alone_lose_digits_silently() {
    let (fine, long) = (dec("0.00000000000001"), dec("1.000000000000001"));
    let large = dec("7922816251426433759354395033");

    assert_eq!(fine.checked_mul(long).unwrap(), dec("0.00000000000001"));
    assert_eq!(large.checked_add(dec("0.01")).unwrap(), large);

    assert_eq!(exact_mul(fine, long), Err(MoneyError::Inexact));
    assert_eq!(exact_add(large, dec("0.01")), Err(MoneyError::Inexact));
}

#[test]
fn zeros_at_the_end_are_no_loss() {
    let (a, b) = (dec("0.00000000000005"), dec("0.000000000000002"));

    assert_eq!(
        exact_mul(a, b).unwrap(),
        dec("0.0000000000000000000000000001")
    );
    assert_eq!(
        exact_mul(Decimal::MAX, dec("1.0000")).unwrap(),
        Decimal::MAX
    );
    assert_eq!(
        exact_add(Decimal::MAX, dec("0.0000")).unwrap(),
        Decimal::MAX
    );
    assert_eq!(
        exact_add(Decimal::MAX, Decimal::ONE),
        Err(MoneyError::Inexact)
    );
    assert_eq!(
        exact_add(dec("0.1"), dec("-0.10")).unwrap().to_string(),
        "0"
    );
}

#[test]
fn only_what_a_column_holds_exactly_is_stored() {
    let most = "9999999999999999.999999999999";

    assert_eq!(stored(dec(most)).unwrap().to_string(), most);
    assert_eq!(
        stored(dec("-0.0000000000010")).unwrap().to_string(),
        "-0.000000000001"
    );
    for refused in [
        "0.0000000000001",
        "10000000000000000",
        "-10000000000000000.5",
    ] {
        assert_eq!(stored(dec(refused)), Err(MoneyError::TooLong(dec(refused))));
    }
}

fn any_currency() -> impl Strategy<Value = Currency> {
    prop::sample::select(vec!["JPY", "USD", "KWD", "CLF"]).prop_map(currency)
}

fn any_decimal() -> impl Strategy<Value = Decimal> {
    (-(1_i128 << 96) + 1..1_i128 << 96, 0_u32..=28)
        .prop_map(|(mantissa, scale)| Decimal::from_i128_with_scale(mantissa, scale))
}

fn small_decimal() -> impl Strategy<Value = Decimal> {
    (any::<i32>(), 0_u32..=12)
        .prop_map(|(mantissa, scale)| Decimal::from_i128_with_scale(mantissa.into(), scale))
}

proptest! {
    #[test]
    fn a_credit_mirrors_its_charge(exact in any_decimal(), currency in any_currency()) {
        let charge = Money::round(exact, currency).and_then(Money::neg);
        prop_assert_eq!(Money::round(-exact, currency), charge);
    }

    #[test]
    fn rounding_moves_at_most_half_a_unit(exact in small_decimal(), currency in any_currency()) {
        let minor = Decimal::from(Money::round(exact, currency).unwrap().minor());
        let unit = Decimal::from_i128_with_scale(1, currency.exponent());
        prop_assert!((minor * unit - exact).abs() * Decimal::TWO <= unit);
    }

    #[test]
    fn a_split_sums_to_the_whole(
        minor in any::<i64>(),
        weights in prop::collection::vec(0_u64..1 << 40, 1..40),
    ) {
        prop_assume!(weights.iter().sum::<u64>() > 0);
        let whole = Money::new(minor, currency("USD"));
        let parts = whole.split(&weights).unwrap();
        let sum: i128 = parts.iter().map(|part| i128::from(part.minor())).sum();
        prop_assert_eq!(sum, i128::from(minor));
        let total: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
        for (part, weight) in parts.iter().zip(&weights) {
            let exact = i128::from(minor) * i128::from(*weight);
            let off = i128::from(part.minor()) * total.cast_signed() - exact;
            prop_assert!(off.unsigned_abs() <= total, "{} of {}", part, whole);
        }
    }

    #[test]
    fn exact_arithmetic_is_exact(a in small_decimal(), b in small_decimal()) {
        let product = exact_mul(a, b).unwrap();
        let places = a.scale() + b.scale();
        let mantissa = product.mantissa() * 10_i128.pow(places - product.scale());
        prop_assert_eq!(mantissa, a.mantissa() * b.mantissa());
        prop_assert_eq!(exact_add(exact_add(a, b).unwrap(), -b).unwrap(), a.normalize());
    }

    #[test]
    fn a_sum_that_is_given_can_be_undone(a in any_decimal(), b in any_decimal()) {
        if let Ok(sum) = exact_add(a, b) {
            prop_assert_eq!(exact_add(sum, -b).unwrap(), a.normalize());
        }
    }

    #[test]
    fn a_product_that_is_given_can_be_undone(a in any_decimal(), b in small_decimal()) {
        if let (Ok(product), false) = (exact_mul(a, b), b.is_zero()) {
            prop_assert_eq!(product % b.normalize(), Decimal::ZERO);
        }
    }
}
