//! Figures of several turns.

use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::roles::Seen;
use crate::server::Spent;

/// One turn of what is repeated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn {
    pub(crate) events: u64,
    pub(crate) per_s: Decimal,
    pub(crate) spent: Spent,
}

/// Rate and cost of some turns.
pub(crate) fn told(turns: &[Turn]) -> Value {
    let each = |of: fn(&Turn) -> Decimal| turns.iter().map(of).collect::<Vec<_>>();
    let median_s = |of: fn(&Turn) -> u64| {
        let each = turns.iter().map(|turn| seconds(of(turn)));
        number(median_of(&each.collect::<Vec<_>>()))
    };
    json!({
        "per_s": spread(each(|turn| turn.per_s)),
        "wal_bytes_per_event": spread(each(|turn| turn.each(turn.spent.wal_bytes))),
        "cpu_us_per_event": spread(each(Turn::cpu_us)),
        "server_cpu_s": median_s(|turn| turn.spent.server_ms),
        "client_cpu_s": median_s(|turn| turn.spent.client_ms),
        "checkpoints": turns.iter().filter(|turn| turn.spent.checkpoint).count(),
    })
}

/// The median of their rates.
pub(crate) fn rate(turns: &[Turn]) -> Value {
    number(median_of(&rates(turns)))
}

pub(crate) fn rates(turns: &[Turn]) -> Vec<Decimal> {
    turns.iter().map(|turn| turn.per_s).collect()
}

/// Turn by turn: each is compared with the one that was measured beside it.
pub(crate) fn ratios(ours: &[Turn], theirs: &[Turn]) -> Vec<Decimal> {
    let pairs = ours.iter().zip(theirs);
    pairs
        .map(|(our, their)| ratio(our.per_s, their.per_s))
        .collect()
}

impl Turn {
    /// The share of one event.
    pub(crate) fn each(&self, of: u64) -> Decimal {
        of_each(of, self.events)
    }

    /// Server and client together.
    fn cpu_us(&self) -> Decimal {
        self.each((self.spent.server_ms + self.spent.client_ms) * 1_000)
    }
}

/// So many for each of so many.
pub(crate) fn of_each(of: u64, number: u64) -> Decimal {
    let (of, number) = (Decimal::from(of), Decimal::from(number));
    of.checked_div(number).unwrap_or_default().round_dp(1)
}

/// How long events took, turn by turn.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    p50_us: Vec<u64>,
    p99_us: Vec<u64>,
    max_us: u64,
}

impl Waits {
    pub(crate) fn add(&mut self, seen: &Seen) {
        self.p50_us.push(seen.p50_us);
        self.p99_us.push(seen.p99_us);
        self.max_us = self.max_us.max(seen.max_us);
    }

    /// In milliseconds.
    pub(crate) fn told(mut self) -> Value {
        self.p50_us.sort_unstable();
        self.p99_us.sort_unstable();
        let middle = self.p50_us.len() / 2;
        let at = |waits: &[u64], nth| ms(waits.get(nth).copied().unwrap_or_default());
        let last = self.p99_us.len().saturating_sub(1);
        json!({
            "p50": at(&self.p50_us, middle),
            "p50_lowest": at(&self.p50_us, 0),
            "p50_highest": at(&self.p50_us, last),
            "p99": at(&self.p99_us, middle),
            "p99_lowest": at(&self.p99_us, 0),
            "p99_highest": at(&self.p99_us, last),
            "max": ms(self.max_us),
        })
    }
}

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

/// Seconds of so many milliseconds.
pub(crate) fn seconds(ms: u64) -> Decimal {
    Decimal::from_i128_with_scale(ms.into(), 3)
}

/// Milliseconds of so many microseconds.
fn ms(micros: u64) -> Value {
    number(Decimal::from_i128_with_scale(micros.into(), 3).round_dp(2))
}

pub(crate) fn number(decimal: Decimal) -> Value {
    let text = decimal.normalize().to_string();
    text.parse::<serde_json::Number>()
        .map_or(Value::Null, Value::Number)
}
