//! Digits as people read them. Machines get them without separators.

/// Puts a comma between the thousands of a decimal number: `-1234.5` becomes `-1,234.5`.
#[must_use]
pub fn grouped(number: &str) -> String {
    let (sign, digits) = number
        .strip_prefix('-')
        .map_or(("", number), |digits| ("-", digits));
    let (whole, fraction) = digits
        .split_once('.')
        .map_or((digits, None), |(whole, rest)| (whole, Some(rest)));
    let mut text = sign.to_owned();
    for (nth, digit) in whole.chars().enumerate() {
        if nth > 0 && (whole.len() - nth) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    if let Some(fraction) = fraction {
        text.push('.');
        text.push_str(fraction);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        let texts = ["0", "999", "1000", "-123456.7890", "1234567.00"].map(grouped);

        assert_eq!(
            texts,
            ["0", "999", "1,000", "-123,456.7890", "1,234,567.00"]
        );
    }
}
