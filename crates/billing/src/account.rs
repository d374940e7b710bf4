//! Accounts: the customers that are billed, each in one currency and one time zone.
//!
//! An account is known outside by its external id. Creating one that exists already changes
//! nothing, so whoever imports customers may do so twice and beside others.
//!
//! Owns `billing.account`. Emits `account.created`, `account.changed`.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use outbox::{Locked, NewEvent, UnitOfWork};
use serde_json::json;
use sqlx::PgConnection;

use crate::ids::AccountId;
use crate::money::Currency;
use crate::text::{self, EMAIL_CHARS_MAX, ID_CHARS_MAX, NOTE_CHARS_MAX, TextProblem};

mod store;

/// An account that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAccount {
    /// Its id where it comes from: unique, one line, at most 512 characters.
    pub external_id: String,
    /// The customer's name: one line, at most 500 characters.
    pub name: String,
    /// The currency of its invoices.
    pub currency: Currency,
    /// Where its months begin and end ([`parse_zone`]).
    pub zone: Tz,
}

/// An account that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its id.
    pub account_id: AccountId,
    /// Its id where it comes from.
    pub external_id: String,
    /// The customer's name.
    pub name: String,
    /// The currency of its invoices.
    pub currency: Currency,
    /// Where its months begin and end.
    pub zone: Tz,
    /// Where its notices go.
    pub email: Option<String>,
}

/// Why an account was not created or read.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The external id cannot be stored, compared or shown.
    #[error("the external id {0:?} {1}")]
    ExternalId(String, TextProblem),
    /// The name cannot be shown.
    #[error("the name of account {0:?} {1}")]
    Name(String, TextProblem),
    /// Somebody else has it.
    #[error("there is an account {0:?} already")]
    ExternalIdTaken(String),
    /// No mail could be sent there.
    #[error("{0:?} is not an e-mail address, such as billing@example.com")]
    Email(String),
    /// No account has this id.
    #[error("there is no account {0}")]
    Missing(AccountId),
    /// Not in the IANA database.
    #[error("{0:?} is not a time zone of the IANA database, such as Europe/Budapest")]
    UnknownZone(String),
    /// The database refused or was lost.
    #[error("could not read or write accounts")]
    Database(#[from] sqlx::Error),
}

/// A time zone by its IANA name.
///
/// # Errors
/// [`AccountError::UnknownZone`].
pub fn parse_zone(name: &str) -> Result<Tz, AccountError> {
    name.parse()
        .map_err(|_| AccountError::UnknownZone(name.to_owned()))
}

/// Creates one account.
///
/// # Errors
/// [`AccountError::ExternalIdTaken`], or as [`create_all`].
pub async fn create(
    tx: &mut UnitOfWork,
    wanted: NewAccount,
    now: DateTime<Utc>,
) -> Result<Account, AccountError> {
    let external_id = wanted.external_id.clone();
    let (accounts, created) = create_missing(tx, &[wanted], now).await?;
    accounts
        .into_values()
        .next()
        .filter(|_| created == 1)
        .ok_or(AccountError::ExternalIdTaken(external_id))
}

/// Creates the accounts that do not exist yet and returns all that were wanted, one per external
/// id, in the order of their external ids.
///
/// One that existed is returned as it stands: compare its currency where that matters.
///
/// # Errors
/// A name or external id that cannot be stored; the database's.
pub async fn create_all(
    tx: &mut UnitOfWork,
    wanted: &[NewAccount],
    now: DateTime<Utc>,
) -> Result<Vec<Account>, AccountError> {
    let (accounts, _) = create_missing(tx, wanted, now).await?;
    Ok(accounts.into_values().collect())
}

/// Whether any account exists: a database without one has never been used.
///
/// # Errors
/// The database's.
pub async fn exists_any(pool: &sqlx::PgPool) -> Result<bool, sqlx::Error> {
    store::exists_any(pool).await
}

/// The account of an external id, if there is one.
///
/// # Errors
/// The database's.
pub async fn by_external_id(
    connection: &mut PgConnection,
    external_id: &str,
) -> Result<Option<Account>, AccountError> {
    Ok(store::find(connection, &[external_id]).await?.pop())
}

/// Which of these external ids are in use.
///
/// # Errors
/// The database's.
pub(crate) async fn standing(
    connection: &mut PgConnection,
    external_ids: &HashSet<&str>,
) -> Result<HashSet<String>, AccountError> {
    let ids: Vec<&str> = external_ids.iter().copied().collect();
    let accounts = store::find(connection, &ids).await?;
    let taken = accounts.into_iter().map(|account| account.external_id);
    Ok(taken.collect())
}

/// The account of an id, if there is one.
///
/// # Errors
/// The database's.
pub async fn by_id(
    connection: &mut PgConnection,
    account_id: AccountId,
) -> Result<Option<Account>, AccountError> {
    Ok(store::by_id(connection, account_id).await?)
}

/// At most `limit` accounts after the one named, or from the first on, in the order of their ids:
/// about the order in which they were created.
///
/// # Errors
/// The database's.
pub async fn list(
    connection: &mut PgConnection,
    after: Option<AccountId>,
    limit: u32,
) -> Result<Vec<Account>, AccountError> {
    Ok(store::list(connection, after, limit).await?)
}

/// Says where an account's notices go; nowhere with none.
///
/// # Errors
/// [`AccountError::Email`], [`AccountError::Missing`], or the database's.
pub async fn set_email(
    tx: &mut UnitOfWork,
    account: AccountId,
    email: Option<&str>,
) -> Result<(), AccountError> {
    if let Some(email) = email.filter(|email| !is_email(email)) {
        return Err(AccountError::Email(email.to_owned()));
    }
    let locks = lock_all(tx, &[account]).await?;
    let locked = *locks.get(&account).ok_or(AccountError::Missing(account))?;
    if store::set_email(tx, account, email).await? {
        let payload = json!({ "account_id": account, "email": email });
        tx.append(locked, NewEvent::new("account.changed", 1, payload));
    }
    Ok(())
}

/// Whether mail could be sent there: one `@` with something on both sides, and nothing that could
/// end a header's line or begin another address.
fn is_email(text: &str) -> bool {
    let parts = text.split_once('@');
    let is_plain = |c: char| c.is_ascii_graphic() && !"<>()[],;:\\\"".contains(c);
    text::check(text, EMAIL_CHARS_MAX).is_ok()
        && text.chars().all(is_plain)
        && parts
            .is_some_and(|(name, host)| !name.is_empty() && !host.is_empty() && !host.contains('@'))
}

/// The currency in which an account that exists is billed.
///
/// # Errors
/// The database's.
pub(crate) async fn currency_of(
    connection: &mut PgConnection,
    account: AccountId,
) -> Result<Currency, sqlx::Error> {
    let found = store::by_id(connection, account).await?;
    found
        .map(|account| account.currency)
        .ok_or(sqlx::Error::RowNotFound)
}

/// The zones of accounts that exist.
///
/// # Errors
/// The database's.
pub(crate) async fn zones(
    connection: &mut PgConnection,
    accounts: &[AccountId],
) -> Result<HashMap<AccountId, Tz>, sqlx::Error> {
    store::zones(connection, accounts).await
}

/// Locks accounts in the order of their ids, so that two who lock several never wait for each
/// other in a circle. Those that do not exist are missing from the answer.
///
/// # Errors
/// The database's.
pub(crate) async fn lock_all(
    tx: &mut UnitOfWork,
    accounts: &[AccountId],
) -> Result<HashMap<AccountId, Locked>, sqlx::Error> {
    let locked = store::lock(tx, accounts).await?;
    let tokens = locked.into_iter().map(|id| (id, tx.locked(id.into())));
    Ok(tokens.collect())
}

/// Creates accounts under ids of the caller's choice, with the addresses of their notices, and
/// locks them by it.
///
/// # Errors
/// A name, external id or address that cannot be stored; one that exists; the database's.
pub(crate) async fn open_all(
    tx: &mut UnitOfWork,
    wanted: Vec<(AccountId, NewAccount, Option<String>)>,
    now: DateTime<Utc>,
) -> Result<HashMap<AccountId, Locked>, AccountError> {
    let mut opened = Vec::with_capacity(wanted.len());
    for (id, new, email) in wanted {
        check(&new)?;
        if let Some(email) = email.as_ref().filter(|email| !is_email(email)) {
            return Err(AccountError::Email(email.clone()));
        }
        opened.push(announce(id, &new, email));
    }
    store::copy(tx, &opened, now).await?;
    let locks = opened.into_iter().map(|(account, event)| {
        let locked = tx.locked(account.account_id.into());
        tx.append(locked, event);
        (account.account_id, locked)
    });
    Ok(locks.collect())
}

async fn create_missing(
    tx: &mut UnitOfWork,
    wanted: &[NewAccount],
    now: DateTime<Utc>,
) -> Result<(BTreeMap<String, Account>, usize), AccountError> {
    // In order of external id, so that two importers never wait for each other in a circle.
    let mut missing: BTreeMap<&str, &NewAccount> = BTreeMap::new();
    for account in wanted {
        check(account)?;
        missing.entry(&account.external_id).or_insert(account);
    }
    let mut standing = BTreeMap::new();
    take_standing(tx, &mut missing, &mut standing).await?;
    let created = insert(tx, &missing, now).await?;
    let count = created.len();
    for account in created {
        missing.remove(account.external_id.as_str());
        standing.insert(account.external_id.clone(), account);
    }
    // Whoever created the rest at the same time has committed by now: the insert waited for it.
    take_standing(tx, &mut missing, &mut standing).await?;
    Ok((standing, count))
}

fn check(account: &NewAccount) -> Result<(), AccountError> {
    let id = &account.external_id;
    text::check(id, ID_CHARS_MAX).map_err(|why| AccountError::ExternalId(id.clone(), why))?;
    text::check(&account.name, NOTE_CHARS_MAX).map_err(|why| AccountError::Name(id.clone(), why))
}

async fn take_standing(
    tx: &mut UnitOfWork,
    missing: &mut BTreeMap<&str, &NewAccount>,
    standing: &mut BTreeMap<String, Account>,
) -> Result<(), AccountError> {
    if missing.is_empty() {
        return Ok(());
    }
    let ids: Vec<&str> = missing.keys().copied().collect();
    for account in store::find(tx, &ids).await? {
        missing.remove(account.external_id.as_str());
        standing.insert(account.external_id.clone(), account);
    }
    Ok(())
}

async fn insert(
    tx: &mut UnitOfWork,
    missing: &BTreeMap<&str, &NewAccount>,
    now: DateTime<Utc>,
) -> Result<Vec<Account>, AccountError> {
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let mut announced: Vec<(Account, NewEvent)> = missing
        .values()
        .map(|new| announce(AccountId::new(), new, None))
        .collect();
    let created = store::insert(tx, &announced, now).await?;
    announced.retain(|(account, _)| created.contains(&account.account_id));
    let accounts = announced.into_iter().map(|(account, event)| {
        let locked = tx.locked(account.account_id.into());
        tx.append(locked, event);
        account
    });
    Ok(accounts.collect())
}

fn announce(account_id: AccountId, new: &NewAccount, email: Option<String>) -> (Account, NewEvent) {
    let account = Account {
        account_id,
        external_id: new.external_id.clone(),
        name: new.name.clone(),
        currency: new.currency,
        zone: new.zone,
        email,
    };
    let payload = json!({
        "account_id": account.account_id,
        "external_id": account.external_id,
        "name": account.name,
        "currency": account.currency,
        "zone": account.zone.name(),
        "email": account.email,
    });
    (account, NewEvent::new("account.created", 1, payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_email_address_is_one_and_cannot_hide_another() {
        assert!(is_email("billing@example.com"));
        assert!(is_email("o'neill+books@sub.example.com"));
        for wrong in [
            "",
            "@",
            "a@",
            "@b",
            "a@b@c",
            "a b@c",
            "a@c\r\nBcc: d@e",
            "a@c,d@e",
            "<a@c>",
        ] {
            assert!(!is_email(wrong), "{wrong:?}");
        }
    }
}
