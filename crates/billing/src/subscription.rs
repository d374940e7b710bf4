//! Subscriptions: what accounts have for as long as they have it, such as a plan or a server.
//!
//! Each is priced by the month or by the hour ([`crate::price::Model::is_of_subscriptions`]). A
//! close bills the part of each period in which an account had it, and as long as it goes on, the
//! close of one period opens the next.
//!
//! Owns `billing.subscription`. Emits `subscription.started`, `subscription.ended`.

mod store;

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Datelike, NaiveDate, SubsecRound, Utc};
use chrono_tz::Tz;
use outbox::{Locked, NewEvent, UnitOfWork};
use rust_decimal::Decimal;
use serde_json::json;

use crate::account;
use crate::ids::{AccountId, PriceId, SubscriptionId};
use crate::money::{Currency, MoneyError, stored};
use crate::period::{self, PeriodError};
use crate::text::{self, ID_CHARS_MAX, TextProblem};

/// A subscription that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSubscription {
    /// Whose.
    pub account: AccountId,
    /// The customer's name for it: unique in the account, one line, at most 512 characters; shown
    /// on the invoice.
    pub external_id: String,
    /// What it costs: a flat price, or one by the hour.
    pub price: PriceId,
    /// How many, above zero; one of what is billed by the hour.
    pub quantity: Decimal,
    /// Its first instant.
    pub start_at: DateTime<Utc>,
    /// The first instant after it, where that is known.
    pub end_at: Option<DateTime<Utc>>,
}

/// Why a subscription was not started or ended.
#[derive(Debug, thiserror::Error)]
pub enum SubscriptionError {
    /// There is no such account.
    #[error("there is no account {0}")]
    NoAccount(AccountId),
    /// There is none with this id.
    #[error("there is no subscription {0}")]
    Missing(SubscriptionId),
    /// The name cannot be stored, compared or shown.
    #[error("the external id {0:?} {1}")]
    ExternalId(String, TextProblem),
    /// Zero, less, or several of what is billed by the hour.
    #[error("{0} of subscription {1:?}: a quantity is above zero, and 1 where hours are counted")]
    Quantity(Decimal, String),
    /// The quantity cannot be stored exactly.
    #[error("the quantity of subscription {0:?} cannot be stored")]
    Inexact(String, #[source] MoneyError),
    /// It would end before it began.
    #[error("subscription {0:?} would end before it starts")]
    Span(String),
    /// No price of subscriptions in the account's currency.
    #[error(
        "the price of subscription {0:?} is not one by the month or by the hour in the account's \
         currency"
    )]
    Price(String),
    /// The change would lie in a period that is closed, or before the account's first one.
    #[error("account {account} is not billed for {at} any more: name {open_from} or later")]
    Closed {
        /// Whose period.
        account: AccountId,
        /// The instant of the change.
        at: DateTime<Utc>,
        /// The end of the last closed period, or where none is, the start of the first.
        open_from: DateTime<Utc>,
    },
    /// It has no period to begin in.
    #[error("the subscription begins in no period")]
    Period(#[from] PeriodError),
    /// The database refused or was lost.
    #[error("could not read or write subscriptions")]
    Database(#[from] sqlx::Error),
}

/// A subscription and the event that announces it.
pub(crate) struct Started {
    pub(crate) id: SubscriptionId,
    pub(crate) new: NewSubscription,
    pub(crate) event: NewEvent,
}

/// Starts subscriptions, and answers how many are new: one whose account has another of its name
/// already stays as it stands. The period in which each begins is there afterwards.
///
/// # Errors
/// [`SubscriptionError`]; the unit of work is to be rolled back then.
pub async fn start_all(
    tx: &mut UnitOfWork,
    wanted: &[NewSubscription],
) -> Result<usize, SubscriptionError> {
    let wanted: Vec<NewSubscription> = wanted.iter().cloned().map(in_micros).collect();
    wanted.iter().try_for_each(check)?;
    let accounts: BTreeSet<AccountId> = wanted.iter().map(|new| new.account).collect();
    let accounts: Vec<AccountId> = accounts.into_iter().collect();
    let locks = account::lock_all(tx, &accounts).await?;
    if let Some(unknown) = accounts.iter().find(|id| !locks.contains_key(*id)) {
        return Err(SubscriptionError::NoAccount(*unknown));
    }
    let mut names = store::names(tx, &accounts).await?;
    let is_new = |new: &&NewSubscription| names.insert((new.account, new.external_id.clone()));
    let new: Vec<NewSubscription> = wanted.iter().filter(is_new).cloned().collect();
    let currencies = store::currencies(tx, &accounts).await?;
    must_be_priced(tx, &new, &currencies).await?;
    let starts: Vec<_> = new.iter().map(|new| (new.account, new.start_at)).collect();
    must_be_open(tx, &starts).await?;
    ensure_periods(tx, &starts).await?;
    let count = new.len();
    let new = new.into_iter().map(|new| (locks[&new.account], new));
    insert_all(tx, new.collect()).await?;
    Ok(count)
}

/// Ends a subscription; one that has an end, at another instant. Asked again for the same, it
/// changes nothing.
///
/// # Errors
/// [`SubscriptionError`]; the unit of work is to be rolled back then.
pub async fn end(
    tx: &mut UnitOfWork,
    account: AccountId,
    subscription: SubscriptionId,
    end_at: DateTime<Utc>,
) -> Result<(), SubscriptionError> {
    let locks = account::lock_all(tx, &[account]).await?;
    let missing = SubscriptionError::NoAccount(account);
    let locked = *locks.get(&account).ok_or(missing)?;
    let standing = store::standing(tx, account, subscription).await?;
    let standing = standing.ok_or(SubscriptionError::Missing(subscription))?;
    let end_at = end_at.trunc_subsecs(6);
    if standing.end_at == Some(end_at) {
        return Ok(());
    }
    if end_at <= standing.start_at {
        return Err(SubscriptionError::Span(standing.external_id));
    }
    let at = standing.end_at.map_or(end_at, |before| before.min(end_at));
    must_be_open(tx, &[(account, at)]).await?;
    // Nothing followed a period at whose end it was to end.
    ensure_periods(tx, &[(account, at)]).await?;
    let payload = json!({
        "subscription_id": subscription,
        "account_id": account,
        "external_id": standing.external_id,
        "end_at": end_at,
    });
    let event = NewEvent::new("subscription.ended", 1, payload);
    store::end(tx, subscription, end_at, event.event_id).await?;
    tx.append(locked, event);
    Ok(())
}

/// Writes subscriptions of locked accounts, which their periods and prices are known to allow.
pub(crate) async fn insert_all(
    tx: &mut UnitOfWork,
    new: Vec<(Locked, NewSubscription)>,
) -> Result<(), sqlx::Error> {
    let started: Vec<(Locked, Started)> = new
        .into_iter()
        .map(|(locked, new)| (locked, announce(new)))
        .collect();
    store::insert(tx, started.iter().map(|(_, started)| started)).await?;
    for (locked, started) in started {
        tx.append(locked, started.event);
    }
    Ok(())
}

fn announce(new: NewSubscription) -> Started {
    let id = SubscriptionId::new();
    let payload = json!({
        "subscription_id": id,
        "account_id": new.account,
        "external_id": new.external_id,
        "price_id": new.price,
        "quantity": new.quantity.normalize().to_string(),
        "start_at": new.start_at,
        "end_at": new.end_at,
    });
    Started {
        id,
        new,
        event: NewEvent::new("subscription.started", 1, payload),
    }
}

/// As the tables keep instants, in microseconds: the event must say what they keep.
pub(crate) fn in_micros(new: NewSubscription) -> NewSubscription {
    NewSubscription {
        start_at: new.start_at.trunc_subsecs(6),
        end_at: new.end_at.map(|end| end.trunc_subsecs(6)),
        ..new
    }
}

/// What a subscription says by itself.
pub(crate) fn check(new: &NewSubscription) -> Result<(), SubscriptionError> {
    let name = || new.external_id.clone();
    text::check(&new.external_id, ID_CHARS_MAX)
        .map_err(|why| SubscriptionError::ExternalId(name(), why))?;
    if new.quantity <= Decimal::ZERO {
        return Err(SubscriptionError::Quantity(new.quantity, name()));
    }
    stored(new.quantity).map_err(|why| SubscriptionError::Inexact(name(), why))?;
    if new.end_at.is_some_and(|end| end <= new.start_at) {
        return Err(SubscriptionError::Span(name()));
    }
    Ok(())
}

/// Each price must be one of subscriptions in its account's currency, and what is billed by the
/// hour is one: its hours are its own.
pub(crate) async fn must_be_priced(
    tx: &mut UnitOfWork,
    new: &[NewSubscription],
    currencies: &HashMap<AccountId, Currency>,
) -> Result<(), SubscriptionError> {
    let prices: BTreeSet<PriceId> = new.iter().map(|new| new.price).collect();
    let prices = store::prices(tx, prices).await?;
    for new in new {
        let name = || new.external_id.clone();
        let price = prices.get(&new.price);
        let price = price.filter(|price| currencies.get(&new.account) == Some(&price.currency));
        let price = price.ok_or_else(|| SubscriptionError::Price(name()))?;
        if price.is_hourly && new.quantity != Decimal::ONE {
            return Err(SubscriptionError::Quantity(new.quantity, name()));
        }
    }
    Ok(())
}

async fn must_be_open(
    tx: &mut UnitOfWork,
    changes: &[(AccountId, DateTime<Utc>)],
) -> Result<(), SubscriptionError> {
    match store::first_in_closed(tx, changes).await? {
        None => Ok(()),
        Some((account, at, open_from)) => Err(SubscriptionError::Closed {
            account,
            at,
            open_from,
        }),
    }
}

/// The months of the instants, each in its account's zone, get their periods.
async fn ensure_periods(
    tx: &mut UnitOfWork,
    starts: &[(AccountId, DateTime<Utc>)],
) -> Result<(), SubscriptionError> {
    let accounts: Vec<AccountId> = starts.iter().map(|(account, _)| *account).collect();
    let zones: HashMap<AccountId, Tz> = account::zones(tx, &accounts).await?;
    let months = starts
        .iter()
        .map(|(account, at)| (*account, month_of(*at, zones[account])));
    period::ensure_open(tx, &months.collect()).await?;
    Ok(())
}

fn month_of(at: DateTime<Utc>, zone: Tz) -> NaiveDate {
    let date = at.with_timezone(&zone).date_naive();
    date.with_day(1).expect("every month has a first day")
}
