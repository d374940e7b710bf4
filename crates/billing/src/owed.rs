//! What is owed on invoices, and its settling: by payments, by credit, in part or in whole.
//!
//! Whoever settles holds the account's lock and says what moved in the ledger; here the invoice
//! follows. The last cent makes it paid, ends its dunning and lifts the hold that it caused, all in
//! the same transaction.
//!
//! Moves `billing.invoice` from `finalized` to `paid`. Emits `invoice.paid`, `payment.wanted`.

mod store;

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};
use outbox::{Locked, NewEvent, UnitOfWork};
use serde_json::json;

use crate::account;
use crate::dunning;
use crate::hold;
use crate::ids::{AccountId, InvoiceId, written_number};
use crate::money::{Currency, Money, MoneyError};

/// An invoice under the lock of its account.
#[derive(Debug, Clone)]
pub(crate) struct Owed {
    pub(crate) locked: Locked,
    pub(crate) invoice: InvoiceId,
    pub(crate) account: AccountId,
    pub(crate) number: String,
    pub(crate) month: NaiveDate,
    pub(crate) total: Money,
    /// What is still to be paid; zero on one that is paid, void or written off.
    pub(crate) due: Money,
}

/// Why what is owed could not be read or settled.
#[derive(Debug, thiserror::Error)]
pub enum OwedError {
    /// An amount or currency of an invoice.
    #[error("could not read what is owed")]
    Money(#[from] MoneyError),
    /// The database refused.
    #[error("could not settle invoices")]
    Database(#[from] sqlx::Error),
}

/// Locks the accounts of invoices, and tells what is owed on them now.
pub(crate) async fn lock_all(
    tx: &mut UnitOfWork,
    invoices: &[InvoiceId],
) -> Result<HashMap<InvoiceId, Owed>, OwedError> {
    let accounts = store::accounts(tx, invoices).await?;
    let locks = account::lock_all(tx, &accounts).await?;
    read_all(tx, invoices, &locks).await
}

/// What is owed on invoices whose accounts are locked.
pub(crate) async fn read_all(
    tx: &mut UnitOfWork,
    invoices: &[InvoiceId],
    locks: &HashMap<AccountId, Locked>,
) -> Result<HashMap<InvoiceId, Owed>, OwedError> {
    let rows = store::rows(tx, invoices).await?;
    let mut owed = HashMap::with_capacity(rows.len());
    for row in rows {
        let (invoice, account) = (InvoiceId::from(row.invoice_id), row.account_id.into());
        let Some(locked) = locks.get(&account).copied() else {
            continue;
        };
        let currency = Currency::parse(&row.currency)?;
        let money = |minor| Money::new(minor, currency);
        let is_open = row.state == "finalized";
        let total = money(row.total_minor);
        let due = if is_open {
            total.sub(money(row.settled_minor))?
        } else {
            Money::zero(currency)
        };
        owed.insert(
            invoice,
            Owed {
                locked,
                invoice,
                account,
                number: written_number(&row.series, row.number),
                month: row.month,
                total,
                due,
            },
        );
    }
    Ok(owed)
}

/// Asks for a decision on each open invoice of a locked account, oldest first: something changed
/// that may pay it.
pub(crate) async fn want_open(
    tx: &mut UnitOfWork,
    locked: Locked,
    why: &str,
) -> Result<(), sqlx::Error> {
    for invoice in store::open_of(tx, locked.key().into()).await? {
        want(tx, locked, invoice, why);
    }
    Ok(())
}

/// Asks for a decision on an invoice of a locked account.
pub(crate) fn want(tx: &mut UnitOfWork, locked: Locked, invoice: InvoiceId, why: &str) {
    let payload = json!({ "invoice_id": invoice, "why": why });
    tx.append(locked, NewEvent::new("payment.wanted", 1, payload));
}

/// Settles parts of what is due; each invoice at most once per call, and never above its due.
pub(crate) async fn settle_all(
    tx: &mut UnitOfWork,
    parts: &[(&Owed, Money)],
    cause: &str,
    now: DateTime<Utc>,
) -> Result<(), OwedError> {
    if parts.is_empty() {
        return Ok(());
    }
    let mut rows = store::Settled::default();
    let mut paid: Vec<InvoiceId> = Vec::new();
    let mut locks: HashMap<AccountId, Locked> = HashMap::new();
    for (owed, part) in parts {
        let is_paid = *part == owed.due;
        let event = paid_event(owed);
        rows.push(owed.invoice, *part, is_paid.then_some(event.event_id));
        if is_paid {
            paid.push(owed.invoice);
            locks.insert(owed.account, owed.locked);
            tx.append(owed.locked, event);
        }
    }
    store::settle(tx, &rows, now).await?;
    if !paid.is_empty() {
        dunning::close_all(tx, &paid, now).await?;
        hold::release_cleared(tx, &locks, cause, now).await?;
    }
    Ok(())
}

fn paid_event(owed: &Owed) -> NewEvent {
    let payload = json!({
        "invoice_id": owed.invoice,
        "account_id": owed.account,
        "number": owed.number,
        "month": owed.month.format("%Y-%m").to_string(),
        "currency": owed.total.currency(),
        "total_minor": owed.total.minor(),
    });
    NewEvent::new("invoice.paid", 1, payload)
}
