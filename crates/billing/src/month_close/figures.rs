//! What a month came to. Everything is counted in the tables, so a second run prints the same.

mod store;

use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde::Serialize;
use sqlx::{PgConnection, PgPool};

use crate::money::{Money, MoneyError};

/// The figures of a month.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Figures {
    /// Accounts with a period of the month.
    pub accounts: u64,
    /// Invoices, voided ones left out.
    pub invoices: u64,
    /// Those of them that are paid, zero ones included.
    pub paid: u64,
    /// Those of them with a total of zero.
    pub zero: u64,
    /// Those of them on which something is due.
    pub open: u64,
    /// Their lines.
    pub lines: u64,
    /// Periods with nothing to bill.
    pub empty: u64,
    /// Periods that could not be billed.
    pub exceptions: u64,
    /// What was invoiced, a sum per currency in order of their codes.
    pub invoiced: Vec<Money>,
}

/// Why figures could not be given.
#[derive(Debug, thiserror::Error)]
pub enum FiguresError {
    /// An invoice's currency is none.
    #[error("could not add up the month")]
    Money(#[from] MoneyError),
    /// The database refused.
    #[error("could not read the month")]
    Database(#[from] sqlx::Error),
}

/// The figures of a month.
///
/// # Errors
/// [`FiguresError`].
pub async fn figures(pool: &PgPool, month: NaiveDate) -> Result<Figures, FiguresError> {
    let mut conn = pool.acquire().await?;
    figures_in(&mut conn, month).await
}

/// The figures of a month as a transaction sees them, such as one that will be rolled back.
///
/// # Errors
/// [`FiguresError`].
pub async fn figures_in(
    conn: &mut PgConnection,
    month: NaiveDate,
) -> Result<Figures, FiguresError> {
    store::figures(conn, month).await
}

/// What was invoiced to each account: external id → currency code → amount.
pub type ByAccount = BTreeMap<String, BTreeMap<String, Money>>;

/// What each account was invoiced for a month.
///
/// # Errors
/// [`FiguresError`].
pub async fn by_account(pool: &PgPool, month: NaiveDate) -> Result<ByAccount, FiguresError> {
    let mut conn = pool.acquire().await?;
    by_account_in(&mut conn, month).await
}

/// The same, as a transaction sees it.
///
/// # Errors
/// [`FiguresError`].
pub async fn by_account_in(
    conn: &mut PgConnection,
    month: NaiveDate,
) -> Result<ByAccount, FiguresError> {
    store::by_account(conn, month).await
}
