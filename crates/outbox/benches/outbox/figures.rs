//! Figures of several turns.

use rust_decimal::Decimal;
use serde_json::{Value, json};

/// The median with the lowest and the highest.
pub(crate) fn spread(mut figures: Vec<Decimal>) -> Value {
    figures.sort_unstable();
    json!({
        "median": number(median(&figures)),
        "lowest": number(figures.first().copied().unwrap_or_default()),
        "highest": number(figures.last().copied().unwrap_or_default()),
    })
}

/// Of sorted figures.
fn median(figures: &[Decimal]) -> Decimal {
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}

pub(crate) fn median_of(figures: &[Decimal]) -> Decimal {
    let mut sorted = figures.to_vec();
    sorted.sort_unstable();
    median(&sorted)
}

/// So many in so many microseconds, per second.
pub(crate) fn per_s(count: u64, took_us: u128) -> Decimal {
    let took_us = Decimal::from(u64::try_from(took_us).unwrap_or(u64::MAX));
    ratio(Decimal::from(count) * Decimal::from(1_000_000), took_us).round()
}

pub(crate) fn ratio(of: Decimal, to: Decimal) -> Decimal {
    of.checked_div(to).unwrap_or_default().round_dp(3)
}

/// Milliseconds of so many microseconds.
pub(crate) fn ms(micros: u64) -> Value {
    number(Decimal::from_i128_with_scale(micros.into(), 3).round_dp(2))
}

pub(crate) fn number(decimal: Decimal) -> Value {
    let text = decimal.normalize().to_string();
    text.parse::<serde_json::Number>()
        .map_or(Value::Null, Value::Number)
}
