//! Credit: what a customer has in advance, and its use.
//!
//! Granted by the house, or left over from a payment that was larger than what was due. It pays
//! invoices before a card does: when they are finalized, and again when they are to be charged.
//!
//! Owns `billing.credit`, `billing.credit_use`. Emits `credit.granted`, `payment.wanted`.

mod store;

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use outbox::{Locked, NewEvent, UnitOfWork, failpoint};
use serde::Serialize;
use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::account;
use crate::ids::{AccountId, CreditId, InvoiceId};
use crate::ledger::{self, Book, NewTransfer, PostError};
use crate::money::{Currency, Money, MoneyError};
use crate::owed::{self, Owed, OwedError};
use crate::text::{self, NOTE_CHARS_MAX, TextProblem};

/// Credit to be granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCredit {
    /// Its id, chosen by who grants it, so that granting it twice is once.
    pub credit: CreditId,
    /// To whom.
    pub account: AccountId,
    /// How much; above zero, in the account's currency.
    pub money: Money,
    /// Why: one line, at most 500 characters.
    pub reason: String,
}

/// Credit that was granted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Credit {
    /// Its id.
    pub credit_id: CreditId,
    /// How much.
    pub money: Money,
    /// Why.
    pub reason: String,
    /// When.
    pub granted_at: DateTime<Utc>,
}

/// What granting came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// The credit.
    pub credit: Credit,
    /// Whether it is granted by this call; else it was before, word for word the same.
    pub is_new: bool,
}

/// Why credit was not granted or used.
#[derive(Debug, thiserror::Error)]
pub enum CreditError {
    /// There is no such account.
    #[error("there is no account {0}")]
    NoAccount(AccountId),
    /// The id was given to another credit, or to this one in other words.
    #[error("there is another credit {0} already: choose a new id")]
    IdTaken(CreditId),
    /// Zero or less.
    #[error("a credit is an amount above zero, not {0}")]
    Amount(Money),
    /// Another currency than the account's.
    #[error("the account is billed in {account}: a credit in {credit} could not pay for anything")]
    Currency {
        /// The account's.
        account: Currency,
        /// The credit's.
        credit: Currency,
    },
    /// The reason cannot be shown.
    #[error("the reason {0}")]
    Reason(TextProblem),
    /// An amount does not fit.
    #[error("could not add up credit")]
    Money(#[from] MoneyError),
    /// The ledger refused.
    #[error("could not post the credit")]
    Post(#[from] PostError),
    /// The invoices could not be settled.
    #[error("could not use the credit")]
    Owed(#[from] OwedError),
    /// The database refused.
    #[error("could not read or write credit")]
    Database(#[from] sqlx::Error),
}

/// Grants credit. Open invoices are looked at again, since it may pay them. Asked again in the same
/// words, it is answered as it was granted.
///
/// # Errors
/// [`CreditError`].
pub async fn grant(
    tx: &mut UnitOfWork,
    new: NewCredit,
    now: DateTime<Utc>,
) -> Result<Granted, CreditError> {
    check(&new)?;
    let missing = CreditError::NoAccount(new.account);
    let locks = account::lock_all(tx, &[new.account]).await?;
    let locked = *locks.get(&new.account).ok_or(missing)?;
    if let Some(credit) = store::granted(tx, &new).await? {
        let is_new = false;
        return Ok(Granted { credit, is_new });
    }
    let account = account::currency_of(tx, new.account).await?;
    let credit = new.money.currency();
    if account != credit {
        return Err(CreditError::Currency { account, credit });
    }
    let granted = granted(&new, now);
    let event = granted_event(new.account, &granted);
    store::insert(tx, new.account, &granted, event.event_id).await?;
    ledger::post_all(tx, &[grant_transfer(&new)], now).await?;
    failpoint!("credit.granted")?;
    tx.append(locked, event);
    owed::want_open(tx, locked, "credit was granted").await?;
    Ok(Granted {
        credit: granted,
        is_new: true,
    })
}

/// Grants credit to accounts that are locked and have no invoices yet, in their own currency.
///
/// # Errors
/// [`CreditError`].
pub(crate) async fn grant_first(
    tx: &mut UnitOfWork,
    new: Vec<(Locked, NewCredit)>,
    now: DateTime<Utc>,
) -> Result<(), CreditError> {
    new.iter().try_for_each(|(_, new)| check(new))?;
    let announced: Vec<_> = new
        .iter()
        .map(|(locked, new)| (*locked, new, granted_event(new.account, &granted(new, now))))
        .collect();
    let rows = announced.iter();
    let rows = rows.map(|(_, new, event)| (*new, event.event_id));
    store::copy(tx, rows, now).await?;
    for (locked, _, event) in announced {
        tx.append(locked, event);
    }
    let transfers: Vec<NewTransfer> = new.iter().map(|(_, new)| grant_transfer(new)).collect();
    ledger::post_all(tx, &transfers, now).await?;
    Ok(())
}

fn check(new: &NewCredit) -> Result<(), CreditError> {
    text::check(&new.reason, NOTE_CHARS_MAX).map_err(CreditError::Reason)?;
    if new.money.minor() <= 0 {
        return Err(CreditError::Amount(new.money));
    }
    Ok(())
}

fn granted(new: &NewCredit, now: DateTime<Utc>) -> Credit {
    Credit {
        credit_id: new.credit,
        money: new.money,
        reason: new.reason.clone(),
        granted_at: now,
    }
}

fn grant_transfer(new: &NewCredit) -> NewTransfer {
    let books = (Book::Allowance, Book::CustomerCredit);
    transfer(("credit", new.credit.into()), books, new.account, new.money)
}

fn granted_event(account: AccountId, granted: &Credit) -> NewEvent {
    let payload = json!({
        "credit_id": granted.credit_id,
        "account_id": account,
        "currency": granted.money.currency(),
        "amount_minor": granted.money.minor(),
        "reason": granted.reason,
    });
    NewEvent::new("credit.granted", 1, payload)
}

/// A movement between a customer's book and another.
pub(crate) fn transfer(
    (source_kind, source_id): (&'static str, Uuid),
    (debit, credit): (Book, Book),
    account: AccountId,
    money: Money,
) -> NewTransfer {
    NewTransfer {
        source_kind,
        source_id,
        debit,
        credit,
        account: Some(account),
        money,
    }
}

/// The latest credits of an account, newest first; from the one after `after` on, if it is named.
///
/// # Errors
/// The database's.
pub async fn list(
    connection: &mut PgConnection,
    account: AccountId,
    after: Option<CreditId>,
    limit: u32,
) -> Result<Vec<Credit>, CreditError> {
    store::list(connection, account, after, limit).await
}

/// What accounts have in advance in their currencies; those without are missing.
///
/// # Errors
/// [`CreditError`].
pub async fn balances(
    connection: &mut PgConnection,
    accounts: &[AccountId],
) -> Result<HashMap<AccountId, Money>, CreditError> {
    store::balances(connection, accounts).await
}

/// Part of an invoice that credit pays.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Use {
    id: Uuid,
    pub(crate) account: AccountId,
    pub(crate) invoice: InvoiceId,
    pub(crate) money: Money,
}

impl Use {
    pub(crate) fn new(account: AccountId, invoice: InvoiceId, money: Money) -> Self {
        Self {
            id: outbox::ids::new(),
            account,
            invoice,
            money,
        }
    }

    /// The movement that it is in the ledger.
    pub(crate) fn transfer(&self) -> NewTransfer {
        let books = (Book::CustomerCredit, Book::Receivable);
        transfer(("credit_use", self.id), books, self.account, self.money)
    }
}

/// Uses credit for what is due on invoices. The accounts are locked and their credit suffices.
pub(crate) async fn use_all(
    tx: &mut UnitOfWork,
    parts: &[(&Owed, Money)],
    now: DateTime<Utc>,
) -> Result<(), CreditError> {
    let uses: Vec<Use> = parts
        .iter()
        .map(|(owed, money)| Use::new(owed.account, owed.invoice, *money))
        .collect();
    write_uses(tx, &uses, now).await?;
    let transfers: Vec<NewTransfer> = uses.iter().map(Use::transfer).collect();
    ledger::post_all(tx, &transfers, now).await?;
    owed::settle_all(tx, parts, "credit", now).await?;
    Ok(())
}

/// Writes down the use of credit; the caller posts the transfers.
pub(crate) async fn write_uses(
    tx: &mut UnitOfWork,
    uses: &[Use],
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    if uses.is_empty() {
        return Ok(());
    }
    store::write_uses(tx, uses, now).await
}
