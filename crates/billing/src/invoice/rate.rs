//! Rating: from the sums of a period to the lines of its invoice. A pure rule.
//!
//! Each line is exact until its one rounding, half away from zero; totals are sums of whole minor
//! units. A number that would have to be rounded earlier is an error.

use chrono_tz::Tz;
use rust_decimal::Decimal;

use super::{Draft, Header, Line, Sum};
use crate::money::{Currency, Money, MoneyError, exact_mul};

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
    /// A price per unit that does not say how much.
    #[error("price {0} is per unit and has no rate: give it one")]
    NoRate(String),
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

/// Rates a period: one line per price and month of use, zero lines included, ordered by month of
/// use, price code, model and rate.
///
/// # Errors
/// [`RatingError`]: the account cannot be billed until somebody mends what it names.
pub fn rate(header: Header, sums: Vec<Sum>) -> Result<Draft, RatingError> {
    let currency = Currency::parse(&header.currency)
        .map_err(|_| RatingError::UnknownCurrency(header.currency.clone()))?;
    if header.zone.parse::<Tz>().is_err() {
        return Err(RatingError::UnknownZone(header.zone));
    }
    let mut lines = sums
        .into_iter()
        .map(|sum| line(sum, currency))
        .collect::<Result<Vec<_>, _>>()?;
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
        &line.price_code,
        &line.model,
        line.unit_price,
        line.price,
    )
}

fn line(sum: Sum, currency: Currency) -> Result<Line, RatingError> {
    if sum.currency != currency.code() {
        let (price, found) = (sum.price_code, sum.currency);
        return Err(RatingError::CurrencyMismatch {
            price,
            found,
            expected: currency,
        });
    }
    let quantity = decimal(&sum.quantity, &sum)?;
    let rate = sum
        .unit_price
        .as_deref()
        .map(|rate| decimal(rate, &sum))
        .transpose()?;
    let exact = exact(&sum, quantity, rate)?;
    let amount = Money::round(exact, currency).map_err(|err| lost(&sum, err))?;
    Ok(Line {
        price: sum.price,
        price_code: sum.price_code,
        description: sum.description,
        model: sum.model,
        unit: sum.unit,
        unit_price: rate,
        usage_month: sum.usage_month,
        quantity,
        exact,
        amount,
        usage_events: sum.events,
        usage_digest: sum.digest,
    })
}

fn exact(sum: &Sum, quantity: Decimal, rate: Option<Decimal>) -> Result<Decimal, RatingError> {
    match sum.model.as_str() {
        "per_unit" => {
            let rate = rate.ok_or_else(|| RatingError::NoRate(sum.price_code.clone()))?;
            exact_mul(rate, quantity).map_err(|err| lost(sum, err))
        }
        "pass_through" => decimal(&sum.amount, sum),
        unknown => {
            let (price, model) = (sum.price_code.clone(), unknown.to_owned());
            Err(RatingError::UnknownModel { price, model })
        }
    }
}

fn lost(sum: &Sum, source: MoneyError) -> RatingError {
    let calculation = match &sum.unit_price {
        Some(rate) => format!("{} × {rate}", sum.quantity),
        None => format!("the sum {}", sum.amount),
    };
    RatingError::Line {
        price: sum.price_code.clone(),
        calculation,
        source,
    }
}

fn decimal(value: &str, sum: &Sum) -> Result<Decimal, RatingError> {
    let number = Decimal::from_str_exact(value).map(|number| number.normalize());
    number.map_err(|_| RatingError::TooPrecise {
        price: sum.price_code.clone(),
        value: value.to_owned(),
    })
}

#[cfg(test)]
mod tests;
