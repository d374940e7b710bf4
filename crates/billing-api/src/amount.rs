//! Amounts as they are told: a decimal string in major units, and the currency beside it.
//!
//! A number of JSON would pass through a float in somebody's program; digits that the currency does
//! not have would have to be rounded. Both are refused.

use billing::money::{Currency, Money};

use crate::problem::Problem;

/// The money of the fields `amount` and `currency`.
pub(crate) fn told(amount: &str, currency: &str) -> Result<Money, Problem> {
    let currency = Currency::parse(currency).map_err(|why| Problem::invalid("currency", why))?;
    let minor = minor_units(amount, currency.exponent() as usize).ok_or_else(|| {
        let example = Money::new(12_500, currency).decimal();
        let detail = format!("An amount above zero in {currency} is written such as {example:?}.");
        Problem::invalid("amount", detail)
    })?;
    Ok(Money::new(minor, currency))
}

fn minor_units(amount: &str, decimals: usize) -> Option<i64> {
    let (major, minor) = match amount.split_once('.') {
        Some((_, "")) => return None,
        Some(parts) => parts,
        None => (amount, ""),
    };
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let is_written_so = !major.is_empty() && is_digits(major) && is_digits(minor);
    if !is_written_so || minor.len() > decimals {
        return None;
    }
    let units = format!("{major}{minor:0<decimals$}").parse().ok();
    units.filter(|units| *units > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_taken_to_its_last_digit() {
        assert_eq!(minor_units("12.34", 2), Some(1_234));
        assert_eq!(minor_units("12.3", 2), Some(1_230));
        assert_eq!(minor_units("12", 2), Some(1_200));
        assert_eq!(minor_units("0.01", 2), Some(1));
        assert_eq!(minor_units("12", 0), Some(12));
        assert_eq!(minor_units("92233720368547758.07", 2), Some(i64::MAX));
    }

    #[test]
    fn what_would_have_to_be_rounded_or_guessed_is_refused() {
        for wrong in [
            "",
            ".",
            "1.",
            ".5",
            "-1",
            "+1",
            "0",
            "0.00",
            "1e3",
            "1_000",
            "1,50",
            " 1",
            "0x1",
            "NaN",
            "1.2.3",
            "1.234",
            "\u{664}\u{662}",
            "92233720368547758.08",
        ] {
            assert_eq!(minor_units(wrong, 2), None, "{wrong:?}");
        }
        assert_eq!(minor_units("1.0", 0), None);
    }
}
