//! The page: a self-contained HTML file, without script and without anything to load.
//!
//! Every field goes through the template's escaping, and the page forbids itself what a name might
//! smuggle in all the same.

use askama::Template;
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use rust_decimal::Decimal;

use super::{FrozenInvoice, FrozenLine, grouped};
use crate::money::{Currency, Money};

/// The invoice as an HTML page; the same invoice gives the same bytes.
///
/// # Panics
/// Never: writing into a string cannot fail.
#[must_use]
pub fn render(invoice: &FrozenInvoice) -> String {
    Page::of(invoice)
        .render()
        .expect("writing into a string cannot fail")
}

#[derive(Template)]
#[template(path = "invoice.html")]
struct Page<'a> {
    number: String,
    customer_name: &'a str,
    external_id: &'a str,
    zone: &'static str,
    as_of: String,
    first_day: String,
    last_day: String,
    currency: &'static str,
    rows: Vec<Row<'a>>,
    without_charge: Option<String>,
    subtotal: String,
    tax: String,
    total: String,
    /// Credit that was used at once.
    credit: Option<String>,
    outcome: String,
}

struct Row<'a> {
    description: &'a str,
    code: &'a str,
    /// The month of usage that was reported late.
    late_month: Option<String>,
    quantity: String,
    unit: &'a str,
    unit_price: String,
    exact: String,
    amount: String,
}

impl<'a> Page<'a> {
    fn of(invoice: &'a FrozenInvoice) -> Self {
        let (free, charged): (Vec<_>, Vec<_>) = invoice
            .lines
            .iter()
            .partition(|line| is_without_charge(line));
        let as_of = invoice.as_of.with_timezone(&invoice.zone);
        Self {
            number: invoice.name(),
            customer_name: &invoice.customer_name,
            external_id: &invoice.external_id,
            zone: invoice.zone.name(),
            as_of: as_of.format("%Y-%m-%d %H:%M:%S %Z").to_string(),
            first_day: day(invoice, invoice.start_at),
            // The period ends where the next one begins: the last day is the one before that.
            last_day: day(invoice, invoice.end_at - TimeDelta::nanoseconds(1)),
            currency: invoice.currency.code(),
            rows: charged
                .into_iter()
                .map(|line| Row::of(line, invoice.month))
                .collect(),
            without_charge: without_charge(free.len()),
            subtotal: figure(invoice.subtotal),
            tax: figure(invoice.tax),
            total: figure(invoice.total),
            credit: (!invoice.credit.is_zero()).then(|| figure(invoice.credit)),
            outcome: outcome(invoice.total, invoice.credit),
        }
    }
}

impl<'a> Row<'a> {
    fn of(line: &'a FrozenLine, billed: NaiveDate) -> Self {
        let currency = line.amount.currency();
        let is_late = line.usage_month != billed;
        // An amount that was passed through may count nothing.
        let is_counted = line.unit_price.is_some() || !line.quantity.is_zero();
        let quantity = grouped(&line.quantity.normalize().to_string());
        Self {
            description: &line.description,
            code: &line.price_code,
            late_month: is_late.then(|| line.usage_month.format("%B %Y").to_string()),
            quantity: if is_counted { quantity } else { String::new() },
            unit: if is_counted { &line.unit } else { "" },
            unit_price: line
                .unit_price
                .map_or_else(String::new, |price| exact(price, currency)),
            exact: exact(line.exact, currency),
            amount: figure(line.amount),
        }
    }
}

/// Not every line that comes to nothing: a charge below half a cent is shown, and rounds to 0.00.
fn is_without_charge(line: &FrozenLine) -> bool {
    line.exact.is_zero() && line.amount.is_zero()
}

fn without_charge(lines: usize) -> Option<String> {
    match lines {
        0 => None,
        1 => Some("1 line without charge is not listed.".to_owned()),
        _ => Some(format!(
            "{} lines without charge are not listed.",
            grouped(&lines.to_string())
        )),
    }
}

/// From what is frozen alone: whether it was paid since is not for this page to say.
fn outcome(total: Money, credit: Money) -> String {
    let shown = |minor: i64| {
        let money = Money::new(minor, total.currency());
        format!(
            "{} {}",
            total.currency(),
            figure(money).trim_start_matches('-')
        )
    };
    match (total.minor(), total.minor().saturating_sub(credit.minor())) {
        (1.., 0) => "Paid from your account's credit: nothing is due.".to_owned(),
        (0, _) => "Paid: nothing is due.".to_owned(),
        (1.., due) => format!("Due: {}", shown(due)),
        (total, _) => format!(
            "Nothing is due: {} goes to your account's credit.",
            shown(total)
        ),
    }
}

fn day(invoice: &FrozenInvoice, at: DateTime<Utc>) -> String {
    at.with_timezone(&invoice.zone)
        .format("%-d %B %Y")
        .to_string()
}

fn figure(amount: Money) -> String {
    grouped(&amount.decimal())
}

/// All decimals of an exact figure, and at least the currency's.
fn exact(figure: Decimal, currency: Currency) -> String {
    let mut text = figure.normalize().to_string();
    let decimals = text
        .split_once('.')
        .map_or(0, |(_, decimals)| decimals.len());
    let missing = (currency.exponent() as usize).saturating_sub(decimals);
    if decimals == 0 && missing > 0 {
        text.push('.');
    }
    text.extend(std::iter::repeat_n('0', missing));
    grouped(&text)
}

#[cfg(test)]
mod tests;
