//! Money: whole minor units of one currency, and the one rule that makes them of exact amounts.
//!
//! `R(x)` rounds half away from zero, so that a credit mirrors its charge: `R(-x) = -R(x)`. Exact
//! amounts, rates and quantities are decimals; [`exact_add`] and [`exact_mul`] calculate with them,
//! because [`Decimal`] itself rounds silently where a result has more than 28 digits.

use std::fmt;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

/// A currency of ISO 4217 with an exponent, which the yen's is too: no metals, no test codes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency(iso_currency::Currency);

/// Why a calculation with money was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Not a code of ISO 4217, or one without an exponent.
    #[error("{0:?} is not a currency of ISO 4217, such as USD")]
    UnknownCurrency(String),
    /// Two currencies met in one sum.
    #[error("{0} and {1} cannot be added: convert one of them first")]
    MixedCurrencies(Currency, Currency),
    /// More than 2^63 minor units.
    #[error("the amount does not fit into 63 bits of minor units")]
    Overflow,
    /// An exact result has more digits than a decimal can hold.
    #[error("the exact result has more than 28 digits and would have to be rounded")]
    Inexact,
    /// More than a table's column holds without rounding.
    #[error("{0} has more than 12 decimals, or more than 16 digits before the point")]
    TooLong(Decimal),
    /// A total cannot be split by weights whose sum is zero (or beyond 63 bits).
    #[error("the weights of a split must sum to something between 1 and 2^63")]
    Weights,
}

impl Currency {
    /// The currency of an ISO 4217 code in capitals.
    ///
    /// # Errors
    /// [`MoneyError::UnknownCurrency`], also for codes without a minor unit (XAU, XXX).
    pub fn parse(code: &str) -> Result<Self, MoneyError> {
        iso_currency::Currency::from_code(code)
            .filter(|currency| currency.exponent().is_some())
            .map(Self)
            .ok_or_else(|| MoneyError::UnknownCurrency(code.to_owned()))
    }

    /// The three letters.
    #[must_use]
    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// How many decimals the minor unit has: 0, 2, 3 or 4.
    #[must_use]
    pub fn exponent(self) -> u32 {
        u32::from(
            self.0
                .exponent()
                .expect("parse refuses currencies without an exponent"),
        )
    }
}

impl TryFrom<String> for Currency {
    type Error = MoneyError;
    fn try_from(code: String) -> Result<Self, MoneyError> {
        Self::parse(&code)
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.code().to_owned()
    }
}

impl std::str::FromStr for Currency {
    type Err = MoneyError;
    fn from_str(code: &str) -> Result<Self, MoneyError> {
        Self::parse(code)
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

/// An amount of money. `Display` shows it in major units with its currency: `-0.05 USD`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Money {
    minor: i64,
    currency: Currency,
}

#[expect(
    clippy::should_implement_trait,
    reason = "an operator cannot refuse, these can"
)]
impl Money {
    /// An amount of minor units.
    #[must_use]
    pub fn new(minor: i64, currency: Currency) -> Self {
        Self { minor, currency }
    }

    /// Nothing.
    #[must_use]
    pub fn zero(currency: Currency) -> Self {
        Self::new(0, currency)
    }

    /// R: an exact amount in major units, rounded to the minor unit, half away from zero.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub fn round(exact: Decimal, currency: Currency) -> Result<Self, MoneyError> {
        let (exponent, scale) = (currency.exponent(), exact.scale());
        // In integers, not by `Decimal`: multiplying there could round a first time. A mantissa has
        // 96 bits and 10^28 has 94, so neither branch can overflow 127 bits.
        let minor = if exponent >= scale {
            exact.mantissa() * 10_i128.pow(exponent - scale)
        } else {
            half_away(exact.mantissa(), 10_i128.pow(scale - exponent))
        };
        let minor = i64::try_from(minor).map_err(|_| MoneyError::Overflow)?;
        Ok(Self::new(minor, currency))
    }

    /// The minor units.
    #[must_use]
    pub fn minor(self) -> i64 {
        self.minor
    }

    /// The currency.
    #[must_use]
    pub fn currency(self) -> Currency {
        self.currency
    }

    /// Whether it is nothing.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.minor == 0
    }

    /// The sum.
    ///
    /// # Errors
    /// [`MoneyError::MixedCurrencies`], [`MoneyError::Overflow`].
    pub fn add(self, other: Self) -> Result<Self, MoneyError> {
        self.combine(other, i64::checked_add)
    }

    /// The difference.
    ///
    /// # Errors
    /// [`MoneyError::MixedCurrencies`], [`MoneyError::Overflow`].
    pub fn sub(self, other: Self) -> Result<Self, MoneyError> {
        self.combine(other, i64::checked_sub)
    }

    /// The same amount in the other direction.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`] for the one amount without a mirror image, -2^63.
    pub fn neg(self) -> Result<Self, MoneyError> {
        Self::zero(self.currency).sub(self)
    }

    /// Splits the total at the cumulative fractions of `weights`: the parts sum to the whole, and
    /// each is within one minor unit of its exact share.
    ///
    /// # Errors
    /// [`MoneyError::Weights`] when the weights sum to zero or beyond 63 bits.
    pub fn split(self, weights: &[u64]) -> Result<Vec<Self>, MoneyError> {
        let whole = weights
            .iter()
            .try_fold(0_u64, |sum, weight| sum.checked_add(*weight));
        let whole = whole.filter(|sum| (1..=i64::MAX.unsigned_abs()).contains(sum));
        let whole = i128::from(whole.ok_or(MoneyError::Weights)?);
        let mut upto = 0_i128;
        let mut given = 0_i128;
        let part = |weight: &u64| {
            upto += i128::from(*weight);
            let mark = half_away(i128::from(self.minor) * upto, whole);
            let minor = i64::try_from(mark - given).map_err(|_| MoneyError::Overflow)?;
            given = mark;
            Ok(Self::new(minor, self.currency))
        };
        weights.iter().map(part).collect()
    }

    /// The amount in major units.
    #[must_use]
    pub fn exact(self) -> Decimal {
        Decimal::new(self.minor, self.currency.exponent()).normalize()
    }

    /// The amount in major units, with the currency's decimals and without its code: `-0.05`.
    #[must_use]
    pub fn decimal(self) -> String {
        let exponent = self.currency.exponent() as usize;
        let sign = if self.minor < 0 { "-" } else { "" };
        // One digit at least stands before the point.
        let digits = format!(
            "{:0width$}",
            self.minor.unsigned_abs(),
            width = exponent + 1
        );
        let (major, minor) = digits.split_at(digits.len() - exponent);
        let point = if exponent == 0 { "" } else { "." };
        format!("{sign}{major}{point}{minor}")
    }

    fn combine(self, other: Self, sum: fn(i64, i64) -> Option<i64>) -> Result<Self, MoneyError> {
        if self.currency != other.currency {
            return Err(MoneyError::MixedCurrencies(self.currency, other.currency));
        }
        let minor = sum(self.minor, other.minor).ok_or(MoneyError::Overflow)?;
        Ok(Self::new(minor, self.currency))
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{} {}", self.decimal(), self.currency))
    }
}

/// The one rounding rule: `numerator / denominator`, half away from zero; the denominator is
/// positive.
fn half_away(numerator: i128, denominator: i128) -> i128 {
    let (quotient, rest) = (numerator / denominator, numerator % denominator);
    if rest.abs() >= denominator - rest.abs() {
        quotient + numerator.signum()
    } else {
        quotient
    }
}

/// The sum, exact to the last digit.
///
/// # Errors
/// [`MoneyError::Inexact`] when it has more digits than a decimal can hold.
pub fn exact_add(a: Decimal, b: Decimal) -> Result<Decimal, MoneyError> {
    let (a, b) = (a.normalize(), b.normalize());
    let scale = a.scale().max(b.scale());
    // Where a term leaves 127 bits at the common scale, so does the sum leave 96: the other term's
    // last digit is not zero and cannot be given up.
    let at_scale = |x: Decimal| x.mantissa().checked_mul(10_i128.pow(scale - x.scale()));
    let sum = at_scale(a)
        .zip(at_scale(b))
        .and_then(|(a, b)| a.checked_add(b));
    fit(sum.ok_or(MoneyError::Inexact)?, scale)
}

/// The product, exact to the last digit.
///
/// # Errors
/// [`MoneyError::Inexact`] when it has more digits than a decimal can hold.
pub fn exact_mul(a: Decimal, b: Decimal) -> Result<Decimal, MoneyError> {
    if a.is_zero() || b.is_zero() {
        return Ok(Decimal::ZERO);
    }
    let (a, b) = (a.normalize(), b.normalize());
    // The fewest decimals that hold the product: zeros at its end come of pairs of 2 and 5.
    // What was rounded has fewer.
    let zeros = |factor| factors(a.mantissa(), factor) + factors(b.mantissa(), factor);
    let needed = (a.scale() + b.scale()).saturating_sub(zeros(2).min(zeros(5)));
    a.checked_mul(b)
        .map(|product| product.normalize())
        .filter(|product| product.scale() == needed)
        .ok_or(MoneyError::Inexact)
}

/// A rate, quantity or exact amount as the tables hold it, `numeric(28, 12)`, without zeros at its
/// end. Postgres would round a longer one silently.
///
/// # Errors
/// [`MoneyError::TooLong`].
pub fn stored(x: Decimal) -> Result<Decimal, MoneyError> {
    let fits = |x: &Decimal| x.scale() <= 12 && x.trunc().mantissa().abs() < 10_i128.pow(16);
    Some(x.normalize())
        .filter(fits)
        .ok_or(MoneyError::TooLong(x))
}

fn factors(mut n: i128, factor: i128) -> u32 {
    let mut count = 0;
    while n % factor == 0 {
        n /= factor;
        count += 1;
    }
    count
}

fn fit(mut mantissa: i128, mut scale: u32) -> Result<Decimal, MoneyError> {
    while scale > 0 && mantissa % 10 == 0 {
        mantissa /= 10;
        scale -= 1;
    }
    Decimal::try_from_i128_with_scale(mantissa, scale).map_err(|_| MoneyError::Inexact)
}

#[cfg(test)]
mod tests;
