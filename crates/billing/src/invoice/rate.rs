//! Rating: from the sums of a period to the lines of its invoice. A pure rule.
//!
//! Each line is exact until its one rounding, half away from zero; totals are sums of whole minor
//! units. A number that would have to be rounded earlier is an error.

use std::fmt::Display;

use chrono_tz::Tz;
use rust_decimal::Decimal;

use super::{Draft, Header, Held, Line, Sum, Terms};
use crate::money::{Currency, Money, MoneyError, exact_mul};
use held::Span;

mod held;

/// Why a period could not be rated, in words for the person who mends it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RatingError {
    /// The account's currency is none.
    #[error("{0:?} is not a currency of ISO 4217: correct the account's currency")]
    UnknownCurrency(String),
    /// The period's zone is none.
    #[error("{0:?} is not a time zone of the IANA database: correct the account's zone")]
    UnknownZone(String),
    /// Used at a price in another currency.
    #[error(
        "price {price} is in {found} and the account is billed in {expected}: \
         rate this usage with a price in {expected}"
    )]
    CurrencyMismatch {
        /// The price's code.
        price: String,
        /// Its currency.
        found: String,
        /// The account's currency.
        expected: Currency,
    },
    /// A price of a kind that this program does not know.
    #[error("price {price} has the unknown model {model:?}: correct the price or upgrade")]
    UnknownModel {
        /// The price's code.
        price: String,
        /// Its model.
        model: String,
    },
    /// A price that does not say how much.
    #[error("price {0} has no rate: give it one")]
    NoRate(String),
    /// An hourly price without its cap.
    #[error("price {0} is by the hour and lacks its monthly price: give it one")]
    NoCap(String),
    /// Several of what is counted by its own hours.
    #[error("price {0} is by the hour, for one: make it a subscription for each")]
    NotOne(String),
    /// A sum or rate has more digits than can be calculated with.
    #[error("price {price}: {value} has more than 28 digits: correct the usage or the rate")]
    TooPrecise {
        /// The price's code.
        price: String,
        /// The number.
        value: String,
    },
    /// The amount of a line cannot be calculated without losing digits or leaving the range.
    #[error("price {price}: {calculation}: {source}: correct the usage or the rate")]
    Line {
        /// The price's code.
        price: String,
        /// What was calculated.
        calculation: String,
        /// What is wrong.
        source: MoneyError,
    },
    /// The lines do not add up to an amount of money.
    #[error("the lines cannot be added up: {0}: correct the usage")]
    Total(MoneyError),
}

/// Rates a period: one line per price and month of use, and one per subscription, zero lines
/// included; ordered by month of use, price code, model, rate and name.
///
/// # Errors
/// [`RatingError`]: the account cannot be billed until somebody mends what it names.
pub fn rate(header: Header, sums: Vec<Sum>, held: Vec<Held>) -> Result<Draft, RatingError> {
    let currency = Currency::parse(&header.currency)
        .map_err(|_| RatingError::UnknownCurrency(header.currency.clone()))?;
    let Ok(zone) = header.zone.parse::<Tz>() else {
        return Err(RatingError::UnknownZone(header.zone));
    };
    let mut lines = Vec::with_capacity(sums.len() + held.len());
    for sum in sums {
        lines.push(used(sum, currency)?);
    }
    let span = Span::new(&header, zone);
    for one in &held {
        lines.extend(held::line(one, &span, currency)?);
    }
    lines.sort_by(|a, b| order(a).cmp(&order(b)));
    let subtotal = lines
        .iter()
        .try_fold(Money::zero(currency), |sum, line| sum.add(line.amount))
        .map_err(RatingError::Total)?;
    let tax = Money::zero(currency);
    let total = subtotal.add(tax).map_err(RatingError::Total)?;
    Ok(Draft {
        header,
        currency,
        lines,
        subtotal,
        tax,
        total,
    })
}

/// Nothing that differs from one database to the next, such as an id, decides before the last.
fn order(line: &Line) -> impl Ord + '_ {
    (
        line.usage_month,
        &line.terms.code,
        &line.terms.model,
        line.unit_price,
        line.served.as_ref().map(|served| &served.says),
        line.terms.price,
    )
}

/// The line of a sum of usage.
fn used(sum: Sum, currency: Currency) -> Result<Line, RatingError> {
    let terms = &sum.terms;
    same_currency(terms, currency)?;
    let quantity = decimal(&sum.quantity, terms)?;
    let unit_price = unit_price(terms)?;
    let exact = match (terms.model.as_str(), unit_price) {
        ("per_unit", Some(rate)) => {
            exact_mul(rate, quantity).map_err(|err| lost(terms, product(&sum.quantity, rate), err))
        }
        ("per_unit", None) => Err(RatingError::NoRate(terms.code.clone())),
        ("pass_through", _) => decimal(&sum.amount, terms),
        _ => Err(unknown(terms)),
    }?;
    let amount = Money::round(exact, currency)
        .map_err(|err| lost(terms, calculation(&sum, unit_price), err))?;
    Ok(Line {
        unit_price,
        served: None,
        usage_month: sum.usage_month,
        quantity,
        exact,
        amount,
        usage_events: sum.events,
        usage_digest: sum.digest,
        terms: sum.terms,
    })
}

fn same_currency(terms: &Terms, expected: Currency) -> Result<(), RatingError> {
    if terms.currency == expected.code() {
        return Ok(());
    }
    Err(RatingError::CurrencyMismatch {
        price: terms.code.clone(),
        found: terms.currency.clone(),
        expected,
    })
}

fn unit_price(terms: &Terms) -> Result<Option<Decimal>, RatingError> {
    let rate = terms.unit_price.as_deref();
    rate.map(|rate| decimal(rate, terms)).transpose()
}

fn unknown(terms: &Terms) -> RatingError {
    RatingError::UnknownModel {
        price: terms.code.clone(),
        model: terms.model.clone(),
    }
}

fn calculation(sum: &Sum, rate: Option<Decimal>) -> String {
    match rate {
        Some(rate) => product(&sum.quantity, rate),
        None => format!("the sum {}", sum.amount),
    }
}

fn product(quantity: impl Display, rate: Decimal) -> String {
    format!("{quantity} × {rate}")
}

fn lost(terms: &Terms, calculation: String, source: MoneyError) -> RatingError {
    RatingError::Line {
        price: terms.code.clone(),
        calculation,
        source,
    }
}

fn decimal(value: &str, terms: &Terms) -> Result<Decimal, RatingError> {
    let number = Decimal::from_str_exact(value).map(|number| number.normalize());
    number.map_err(|_| RatingError::TooPrecise {
        price: terms.code.clone(),
        value: value.to_owned(),
    })
}

#[cfg(test)]
mod tests;
