//! Numbers of a file: plain or in E notation, taken exactly or not at all.

use rust_decimal::Decimal;

use crate::money::stored;

/// Why a text is no number that can be billed; it completes a sentence that begins with the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NumberProblem {
    #[error("is not a number")]
    NotANumber,
    #[error("has more than 12 decimals, or more than 16 digits before the point")]
    TooLong,
}

/// The number that the text stands for, to its last digit.
pub(super) fn parse(text: &str) -> Result<Decimal, NumberProblem> {
    let (coefficient, exponent) = match text.split_once(['e', 'E']) {
        None => (text, 0),
        Some((coefficient, exponent)) => (coefficient, self::exponent(exponent)?),
    };
    let (negative, digits) = unsigned(coefficient);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() && fraction.is_empty() || !plain(whole) || !plain(fraction) {
        return Err(NumberProblem::NotANumber);
    }
    // Digits without their zeros at either end, and the power of ten of the last one.
    let fraction = fraction.trim_end_matches('0');
    let all = [whole, fraction].concat();
    let leading = all.trim_start_matches('0');
    let significant = leading.trim_end_matches('0');
    let power = exponent - length(fraction) + length(leading) - length(significant);
    if significant.is_empty() {
        return Ok(Decimal::ZERO);
    }
    let magnitude = shifted(significant, power).ok_or(NumberProblem::TooLong)?;
    stored(if negative { -magnitude } else { magnitude }).map_err(|_| NumberProblem::TooLong)
}

fn unsigned(coefficient: &str) -> (bool, &str) {
    match coefficient.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, coefficient.strip_prefix('+').unwrap_or(coefficient)),
    }
}

fn exponent(text: &str) -> Result<i64, NumberProblem> {
    let (negative, digits) = unsigned(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NumberProblem::NotANumber);
    }
    // Nine digits say enough: what is longer is out of range with any coefficient.
    let size: i64 = digits.parse().unwrap_or(i64::MAX).min(999_999_999);
    Ok(if negative { -size } else { size })
}

fn shifted(significant: &str, power: i64) -> Option<Decimal> {
    let mantissa: i128 = significant.parse().ok()?;
    let zeros = 10_i128.checked_pow(u32::try_from(power.max(0)).ok()?)?;
    let scale = u32::try_from(-power.min(0)).ok()?;
    Decimal::try_from_i128_with_scale(mantissa.checked_mul(zeros)?, scale).ok()
}

fn length(digits: &str) -> i64 {
    digits.len() as i64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> String {
        parse(text).unwrap().to_string()
    }

    #[test]
    fn numbers_are_read_as_they_are_written() {
        assert_eq!(read("0.00001605990"), "0.0000160599");
        assert_eq!(read("-2.61"), "-2.61");
        assert_eq!(read("+1.50"), "1.5");
        assert_eq!(read(".5"), "0.5");
        assert_eq!(read("5."), "5");
        assert_eq!(read("007"), "7");
        assert_eq!(read("-0.0"), "0");
        assert_eq!(
            read("9999999999999999.999999999999"),
            "9999999999999999.999999999999"
        );
    }

    #[test]
    fn e_notation_is_read_exactly() {
        assert_eq!(read("4.137E-7"), "0.0000004137");
        assert_eq!(read("1e+3"), "1000");
        assert_eq!(read("120.50e1"), "1205");
        assert_eq!(read("100000000000000000000e-20"), "1");
        assert_eq!(read("0e-4000000000"), "0");
    }

    #[test]
    fn zeros_never_make_a_number_too_long() {
        assert_eq!(read(&format!("0.5{}", "0".repeat(60))), "0.5");
        assert_eq!(read(&format!("{}5", "0".repeat(60))), "5");
        assert_eq!(read(&format!("0.{}", "0".repeat(60))), "0");
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in [
            "abc", "", "-", ".", "e5", "1e", "1e5.0", "1,5", "1_000", "0x1", "NaN", "1 2",
        ] {
            assert_eq!(parse(text), Err(NumberProblem::NotANumber), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_stored_is_refused() {
        for text in [
            "0.0000000000001",
            "1e-13",
            "10000000000000000",
            "1e16",
            "1e999999999999",
            "1e-99",
        ] {
            assert_eq!(parse(text), Err(NumberProblem::TooLong), "{text}");
        }
    }

    proptest! {
        #[test]
        fn each_number_that_can_be_stored_is_read_back(
            mantissa in -10_i128.pow(28) + 1..10_i128.pow(28),
            zeros in 0_usize..40,
        ) {
            let number = Decimal::from_i128_with_scale(mantissa, 12);
            prop_assert_eq!(parse(&number.to_string()), Ok(number));
            let scientific = format!("{mantissa}{}e{}", "0".repeat(40), -52);
            prop_assert_eq!(parse(&scientific), Ok(number));
            let padded = format!("{mantissa}.{}E-12", "0".repeat(zeros));
            prop_assert_eq!(parse(&padded), Ok(number));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[-+0-9eE.]{0,40}|.{0,40}") {
            prop_assert!(parse(&text).is_ok_and(|n| stored(n) == Ok(n)) || parse(&text).is_err());
        }
    }
}
