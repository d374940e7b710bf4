//! Prices: what a unit of something costs, a month of it, an hour up to a month's price, or that
//! its cost is passed through as it is.
//!
//! A price never changes: another rate, currency or model is another price of the same code. So a
//! sum of usage that names its price can be rated at any time with the same result.
//!
//! Owns `billing.price`. Emits `price.created`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use outbox::{NewEvent, UnitOfWork};
use rust_decimal::Decimal;
use serde_json::json;

use crate::ids::PriceId;
use crate::money::{Currency, MoneyError, stored};
use crate::text::{self, ID_CHARS_MAX, TextProblem, mend};

mod store;

/// How usage becomes an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Model {
    /// Quantity times this rate, in major units of the currency per unit.
    PerUnit {
        /// At most 12 decimals.
        unit_price: Decimal,
    },
    /// The amount comes with the usage.
    PassThrough,
    /// A month of a subscription, used or not; less by days where it began or ended in between.
    Flat {
        /// For one, in major units of the currency; at most 12 decimals.
        unit_price: Decimal,
    },
    /// Begun hours of a subscription, and never more than a month's price.
    HourlyCapped {
        /// For one hour, in major units of the currency; at most 12 decimals.
        unit_price: Decimal,
        /// For a month; at most 12 decimals.
        monthly_price: Decimal,
        /// From so many hours on it is the month's price, also where that is more.
        cap_hours: u16,
    },
}

/// What makes a price the one it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PriceKey {
    /// The code under which usage names it: one line, at most 512 characters.
    pub code: String,
    /// How it is rated.
    pub model: Model,
    /// Of the rate and of the amounts.
    pub currency: Currency,
}

/// A price that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPrice {
    /// What makes it the one it is.
    pub key: PriceKey,
    /// What a quantity counts, as a line shows it; cut after 500 characters.
    pub unit: String,
    /// What is sold, as a line shows it; cut after 500 characters.
    pub description: String,
}

/// A price that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Price {
    /// Its id.
    pub price_id: PriceId,
    /// What makes it the one it is.
    pub key: PriceKey,
    /// What a quantity counts.
    pub unit: String,
    /// What is sold.
    pub description: String,
}

/// Why a price was not created.
#[derive(Debug, thiserror::Error)]
pub enum PriceError {
    /// The code cannot be stored, compared or shown.
    #[error("the price code {0:?} {1}")]
    Code(String, TextProblem),
    /// The rate cannot be stored exactly.
    #[error("the rate of price {0:?} cannot be stored")]
    Rate(String, #[source] MoneyError),
    /// A cap that is reached before the first hour.
    #[error("price {0:?} is capped at 0 hours: name the hours from which on a month is paid")]
    Cap(String),
    /// The database refused or was lost.
    #[error("could not read or write prices")]
    Database(#[from] sqlx::Error),
}

impl Model {
    /// The name in tables and events.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PerUnit { .. } => "per_unit",
            Self::PassThrough => "pass_through",
            Self::Flat { .. } => "flat",
            Self::HourlyCapped { .. } => "hourly_capped",
        }
    }

    /// Whether it prices what somebody has; the others price what somebody uses.
    #[must_use]
    pub fn is_of_subscriptions(self) -> bool {
        matches!(self, Self::Flat { .. } | Self::HourlyCapped { .. })
    }

    /// The rate, where there is one.
    #[must_use]
    pub fn unit_price(self) -> Option<Decimal> {
        match self {
            Self::PerUnit { unit_price }
            | Self::Flat { unit_price }
            | Self::HourlyCapped { unit_price, .. } => Some(unit_price),
            Self::PassThrough => None,
        }
    }

    /// What a month costs at most, and from how many hours on, of an hourly price.
    #[must_use]
    pub fn cap(self) -> Option<(Decimal, u16)> {
        match self {
            Self::HourlyCapped {
                monthly_price,
                cap_hours,
                ..
            } => Some((monthly_price, cap_hours)),
            _ => None,
        }
    }
}

/// Creates the prices that do not exist yet and returns all that were wanted, one per key, in the
/// order of their keys. The unit and description of the first one stay.
///
/// # Errors
/// A code or rate that cannot be stored; the database's.
pub async fn create_all(
    tx: &mut UnitOfWork,
    wanted: &[NewPrice],
    now: DateTime<Utc>,
) -> Result<Vec<Price>, PriceError> {
    // In order of key, so that two importers never wait for each other in a circle.
    let mut missing: BTreeMap<&PriceKey, &NewPrice> = BTreeMap::new();
    for price in wanted {
        check(&price.key)?;
        missing.entry(&price.key).or_insert(price);
    }
    let mut standing = BTreeMap::new();
    take_standing(tx, &mut missing, &mut standing).await?;
    for price in insert(tx, &missing, now).await? {
        missing.remove(&price.key);
        standing.insert(price.key.clone(), price);
    }
    // Whoever created the rest at the same time has committed by now: the insert waited for it.
    take_standing(tx, &mut missing, &mut standing).await?;
    Ok(standing.into_values().collect())
}

fn check(key: &PriceKey) -> Result<(), PriceError> {
    text::check(&key.code, ID_CHARS_MAX).map_err(|why| PriceError::Code(key.code.clone(), why))?;
    let monthly = key.model.cap().map(|(monthly_price, _)| monthly_price);
    for rate in [key.model.unit_price(), monthly].into_iter().flatten() {
        stored(rate).map_err(|why| PriceError::Rate(key.code.clone(), why))?;
    }
    match key.model.cap() {
        Some((_, 0)) => Err(PriceError::Cap(key.code.clone())),
        _ => Ok(()),
    }
}

async fn take_standing(
    tx: &mut UnitOfWork,
    missing: &mut BTreeMap<&PriceKey, &NewPrice>,
    standing: &mut BTreeMap<PriceKey, Price>,
) -> Result<(), PriceError> {
    if missing.is_empty() {
        return Ok(());
    }
    let keys: Vec<&PriceKey> = missing.keys().copied().collect();
    for price in store::find(tx, &keys).await? {
        missing.remove(&price.key);
        standing.insert(price.key.clone(), price);
    }
    Ok(())
}

async fn insert(
    tx: &mut UnitOfWork,
    missing: &BTreeMap<&PriceKey, &NewPrice>,
    now: DateTime<Utc>,
) -> Result<Vec<Price>, PriceError> {
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let mut announced: Vec<(Price, NewEvent)> = missing.values().map(|new| announce(new)).collect();
    let created = store::insert(tx, &announced, now).await?;
    announced.retain(|(price, _)| created.contains(&price.price_id));
    let prices = announced.into_iter().map(|(price, event)| {
        let locked = tx.locked(price.price_id.into());
        tx.append(locked, event);
        price
    });
    Ok(prices.collect())
}

fn announce(new: &NewPrice) -> (Price, NewEvent) {
    let price = Price {
        price_id: PriceId::new(),
        key: new.key.clone(),
        unit: mend(&new.unit),
        description: mend(&new.description),
    };
    let payload = json!({
        "price_id": price.price_id,
        "code": price.key.code,
        "model": price.key.model.name(),
        "currency": price.key.currency,
        "unit_price": price.key.model.unit_price().map(written),
        "monthly_price": price.key.model.cap().map(|(monthly_price, _)| written(monthly_price)),
        "cap_hours": price.key.model.cap().map(|(_, cap_hours)| cap_hours),
        "unit": price.unit,
        "description": price.description,
    });
    (price, NewEvent::new("price.created", 1, payload))
}

fn written(rate: Decimal) -> String {
    rate.normalize().to_string()
}
