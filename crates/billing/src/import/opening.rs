//! Opening accounts together with what they come with: a card, credit, subscriptions, usage.
//!
//! The same nouns say what is allowed and announce it with the same events as when each is added by
//! itself. Written as sets, because nobody else can know of an account that is not committed yet:
//! there is nothing to wait for, to look up or to compare with.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, NaiveDate, Utc};
use outbox::UnitOfWork;

use crate::account::{self, AccountError, NewAccount};
use crate::credit::{self, CreditError, NewCredit};
use crate::ids::AccountId;
use crate::money::Currency;
use crate::payment_method::{self, NewPaymentMethod, PaymentMethodError};
use crate::period::{self, PeriodError};
use crate::subscription::{self, NewSubscription, SubscriptionError};
use crate::usage::{self, UsageError, UsageEvent};

/// An account with what it comes with; all of it names the account by its id.
#[derive(Debug, Clone)]
pub struct Opening {
    /// Its id, a new one.
    pub account_id: AccountId,
    /// The account.
    pub account: NewAccount,
    /// Where its notices go.
    pub email: Option<String>,
    /// What it pays with.
    pub method: Option<NewPaymentMethod>,
    /// What it has in advance.
    pub credit: Option<NewCredit>,
    /// What it has. What it had before its first month was billed elsewhere: such a subscription
    /// names its real start, from which its hours are counted.
    pub subscriptions: Vec<NewSubscription>,
    /// What it used in its first month, or before.
    pub usage: Vec<UsageEvent>,
}

/// Why accounts were not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpeningError {
    /// An account.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The first month.
    #[error(transparent)]
    Period(#[from] PeriodError),
    /// A card.
    #[error(transparent)]
    PaymentMethod(#[from] PaymentMethodError),
    /// Credit.
    #[error(transparent)]
    Credit(#[from] CreditError),
    /// A subscription.
    #[error(transparent)]
    Subscription(#[from] SubscriptionError),
    /// Usage.
    #[error(transparent)]
    Usage(#[from] UsageError),
    /// Usage of a later month, which would be billed too early.
    #[error("usage {0:?} is of a later month than the account's first: record it afterwards")]
    Ahead(String),
    /// The database refused or was lost.
    #[error("could not open accounts")]
    Database(#[from] sqlx::Error),
}

/// Opens accounts whose first period is of `month`, named by its first day; answers how many. One
/// whose external id is in use stays as it stands, with nothing added.
///
/// # Errors
/// [`OpeningError`]; the unit of work is then of no more use. Two who open the same account at once
/// meet at its external id, and the second is refused by the database.
pub async fn open_all(
    tx: &mut UnitOfWork,
    openings: Vec<Opening>,
    month: NaiveDate,
    now: DateTime<Utc>,
) -> Result<usize, OpeningError> {
    let standing = account::standing(tx, &external_ids(&openings)).await?;
    let is_new = |opening: &Opening| !standing.contains(&opening.account.external_id);
    let (mut accounts, mut methods, mut credits) = (Vec::new(), Vec::new(), Vec::new());
    let (mut subscriptions, mut used) = (Vec::new(), Vec::new());
    for opening in openings.into_iter().filter(is_new) {
        accounts.push((opening.account_id, opening.account, opening.email));
        methods.extend(opening.method);
        credits.extend(opening.credit);
        subscriptions.extend(opening.subscriptions);
        used.extend(opening.usage);
    }
    let currencies = accounts.iter().map(|(id, new, _)| (*id, new.currency));
    let currencies: HashMap<AccountId, Currency> = currencies.collect();
    credits
        .iter()
        .try_for_each(|new| must_fit(new, &currencies))?;
    if let Some(event) = used.iter().find(|event| event.usage_month > month) {
        return Err(OpeningError::Ahead(event.key.event_id.clone()));
    }
    let zones: Vec<_> = accounts
        .iter()
        .map(|(id, new, _)| (*id, new.zone))
        .collect();
    let locks = account::open_all(tx, accounts, now).await?;
    period::open_first(tx, zones.into_iter(), month).await?;
    let methods = methods.into_iter().map(|new| (locks[&new.account], new));
    payment_method::add_first(tx, &methods.collect::<Vec<_>>(), now).await?;
    let credits = credits.into_iter().map(|new| (locks[&new.account], new));
    credit::grant_first(tx, credits.collect(), now).await?;
    let subscriptions = subscriptions.into_iter().map(subscription::in_micros);
    let subscriptions: Vec<_> = subscriptions.collect();
    subscriptions.iter().try_for_each(subscription::check)?;
    subscription::must_be_priced(tx, &subscriptions, &currencies).await?;
    let subscriptions = subscriptions.into_iter();
    let subscriptions = subscriptions.map(|new| (locks[&new.account], new));
    subscription::insert_all(tx, subscriptions.collect()).await?;
    usage::record_first(tx, &used).await?;
    Ok(locks.len())
}

/// Credit in another currency than its account's could not pay for anything.
fn must_fit(new: &NewCredit, currencies: &HashMap<AccountId, Currency>) -> Result<(), CreditError> {
    let (account, credit) = (currencies[&new.account], new.money.currency());
    if account == credit {
        Ok(())
    } else {
        Err(CreditError::Currency { account, credit })
    }
}

fn external_ids(openings: &[Opening]) -> HashSet<&str> {
    let ids = openings.iter();
    ids.map(|opening| opening.account.external_id.as_str())
        .collect()
}
