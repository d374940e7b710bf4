//! Card numbers: a gateway of tokens must never be handed one, and refuses the text that holds one.
//!
//! A card number is a run of 13 to 19 digits whose check digit (Luhn) is right, written in one
//! piece or in groups that begin with four digits. Ids are full of digits too: a run that touches a
//! letter a–f is taken for hexadecimal, and a dashed UUID has groups that no card has.

use std::ops::Range;

/// Whether the text holds what looks like a card number.
pub(crate) fn is_in(text: &str) -> bool {
    let bytes = text.as_bytes();
    let groups = digit_groups(bytes);
    (0..groups.len()).any(|first| {
        let last = (first..groups.len()).take_while(|at| *at == first || adjoin(&groups, *at));
        last.into_iter()
            .any(|last| is_card(bytes, &groups[first..=last]))
    })
}

/// The runs of digits, as ranges of bytes.
fn digit_groups(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut groups: Vec<Range<usize>> = Vec::new();
    for at in (0..bytes.len()).filter(|at| bytes[*at].is_ascii_digit()) {
        match groups.last_mut() {
            Some(group) if group.end == at => group.end += 1,
            _ => groups.push(at..at + 1),
        }
    }
    groups
}

/// Whether one character, a space or a dash as `is_card` finds, parts the group from the one
/// before.
fn adjoin(groups: &[Range<usize>], at: usize) -> bool {
    groups[at].start == groups[at - 1].end + 1
}

fn is_card(bytes: &[u8], groups: &[Range<usize>]) -> bool {
    let whole = groups[0].start..groups[groups.len() - 1].end;
    let between = || bytes[whole.clone()].iter();
    if between().any(|byte| !byte.is_ascii_digit() && !matches!(byte, b' ' | b'-')) {
        return false;
    }
    let grouped_as_cards_are =
        || groups[0].len() == 4 && groups[1..].iter().all(|g| (3..=6).contains(&g.len()));
    if groups.len() > 1 && !grouped_as_cards_are() {
        return false;
    }
    let digits: Vec<u8> = between()
        .filter(|byte| byte.is_ascii_digit())
        .map(|byte| byte - b'0')
        .collect();
    (13..=19).contains(&digits.len()) && !touches_hex(bytes, &whole) && luhn(&digits)
}

fn touches_hex(bytes: &[u8], run: &Range<usize>) -> bool {
    let is_letter = |byte: &u8| matches!(byte.to_ascii_lowercase(), b'a'..=b'f');
    let before = run.start.checked_sub(1).and_then(|at| bytes.get(at));
    before.is_some_and(is_letter) || bytes.get(run.end).is_some_and(is_letter)
}

/// Every second digit from the right counts twice, and the sum of all digits ends in zero.
fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| match (place % 2, u32::from(*digit)) {
            (0, digit) => digit,
            (_, digit) if digit > 4 => 2 * digit - 9,
            (_, digit) => 2 * digit,
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn card_numbers_are_seen_however_they_are_written() {
        for text in [
            "4242424242424242",
            "tok_4242424242424242",
            "card:4242 4242 4242 4242 12/31",
            "3782-822463-10005",
            "378282246310005",
            "6304000000000000000",
            "no 12 4242424242424242",
        ] {
            assert!(is_in(text), "{text}");
        }
    }

    #[test]
    fn what_fails_the_check_digit_or_the_length_is_no_card() {
        for text in [
            "4242424242424241",
            "424242424242",
            "42424242424242424242",
            "",
        ] {
            assert!(!is_in(text), "{text}");
        }
    }

    #[test]
    fn ids_are_no_cards() {
        for text in [
            "01981234-1234-7424-8242-424242424242",
            "pay_a4242424242424242",
            "4242424242424242b0c1d2e3f4a5b6c7",
            "2031-01-31 12:00:00",
        ] {
            assert!(!is_in(text), "{text}");
        }
    }
}
