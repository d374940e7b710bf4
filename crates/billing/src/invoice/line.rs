//! Lines, and what they are made of: sums of usage and subscriptions, each with its price's terms.

use std::borrow::Cow;
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;

use crate::ids::{PriceId, SubscriptionId};
use crate::money::Money;

/// What a price says, shared by all lines of a chunk that are made with it.
///
/// Model, currency and numbers are as the table writes them: what cannot be understood has to
/// become an exception of its account, and not an error of the statement that reads hundreds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// The price.
    pub price: PriceId,
    /// Its code.
    pub code: String,
    /// What the line will say.
    pub description: String,
    /// `per_unit`, `pass_through`, `flat` or `hourly_capped`.
    pub model: String,
    /// Its currency.
    pub currency: String,
    /// What a quantity counts.
    pub unit: String,
    /// Major units of the currency per unit.
    pub unit_price: Option<String>,
    /// Major units that a month costs at most, of an hourly price.
    pub monthly_price: Option<String>,
    /// From so many hours on it is the month's price.
    pub cap_hours: Option<i32>,
}

/// The sum of a period's usage at one price and of one month.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sum {
    /// The price.
    pub terms: Arc<Terms>,
    /// The month in which it was used, by its first day.
    pub usage_month: NaiveDate,
    /// How much was used, as the table writes it.
    pub quantity: String,
    /// Major units of the currency, of a price that is passed through.
    pub amount: String,
    /// How many usage events were summed.
    pub events: i64,
    /// Exclusive or over them.
    pub digest: i64,
}

/// A subscription that an account had in a period, or in a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The price.
    pub terms: Arc<Terms>,
    /// The subscription.
    pub subscription: SubscriptionId,
    /// The customer's name for it.
    pub name: String,
    /// How many, as the table writes it.
    pub quantity: String,
    /// Its first instant.
    pub start_at: DateTime<Utc>,
    /// The first instant after it, if it has one.
    pub end_at: Option<DateTime<Utc>>,
}

/// A rated line, rounded once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The price.
    pub terms: Arc<Terms>,
    /// Major units per unit, where it has a rate.
    pub unit_price: Option<Decimal>,
    /// Of a subscription.
    pub served: Option<Served>,
    /// The month in which it was used, by its first day.
    pub usage_month: NaiveDate,
    /// How much was used: of an hourly price, begun hours.
    pub quantity: Decimal,
    /// Before rounding, in major units. Of a part of a month it is the difference of two amounts,
    /// each rounded: all parts of a month together cost what the month costs.
    pub exact: Decimal,
    /// After rounding.
    pub amount: Money,
    /// How many usage events it bills.
    pub usage_events: i64,
    /// Exclusive or over them.
    pub usage_digest: i64,
}

/// What a line says of its subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// Which.
    pub subscription: SubscriptionId,
    /// The customer's name for it, and what part of the month is billed.
    pub says: String,
    /// The first instant that is billed.
    pub from: DateTime<Utc>,
    /// The first instant after.
    pub until: DateTime<Utc>,
    /// Major units that a month costs at most, and from how many hours on, of an hourly price.
    pub cap: Option<(Decimal, i32)>,
}

impl Line {
    /// What was sold, in words.
    #[must_use]
    pub fn description(&self) -> Cow<'_, str> {
        match &self.served {
            None => Cow::Borrowed(&self.terms.description),
            Some(served) => format!("{}, {}", self.terms.description, served.says).into(),
        }
    }
}
