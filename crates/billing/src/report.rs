//! Report: where a month's collection stands, for the people of finance.
//!
//! The figures are kept by a consumer of `invoice.finalized`, a row per month, currency and bucket,
//! so that the answer does not depend on how many invoices there are. The list of the invoices
//! themselves is streamed.
//!
//! Owns `billing.collection_figure`. Reads `billing.invoice`, `billing.close_exception`,
//! `billing.account`. Emits nothing.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use futures::{Stream, StreamExt};
use outbox::UnitOfWork;
use sqlx::PgPool;

use crate::money::{Currency, Money, MoneyError};

mod sheet;
mod store;
mod table;

pub use sheet::{SheetError, write_csv};
pub use table::table;

/// Into how many rows the figures of a month are spread: shards must not wait for one row.
const BUCKETS: i16 = 8;

/// What the figures need to know of an invoice that became final.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finalized {
    /// The month billed, by its first day.
    pub month: NaiveDate,
    /// What it asks for.
    pub total: Money,
    /// How many lines it has.
    pub lines: i64,
    /// Whether it was paid at once, having asked for nothing.
    pub is_paid: bool,
    /// The part of its event's key.
    pub part: i16,
}

/// Counts and sums of one currency's invoices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Sums {
    invoices: i64,
    zero: i64,
    paid: i64,
    open: i64,
    lines: i64,
    invoiced_minor: i64,
}

/// Where the sums belong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    month: NaiveDate,
    currency: Currency,
    bucket: i16,
}

/// Why invoices could not be counted or read.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A sum does not fit, or a currency is not known to this program.
    #[error("could not add up the figures")]
    Money(#[from] MoneyError),
    /// The database refused a statement.
    #[error("could not read or keep the figures")]
    Database(#[from] sqlx::Error),
}

/// Adds invoices to the figures: each invoice once, so it belongs beside the consumer's position.
///
/// # Errors
/// [`ReportError`].
pub async fn count(tx: &mut UnitOfWork, finalized: &[Finalized]) -> Result<(), ReportError> {
    let sums = summed(finalized)?;
    store::add(tx, &sums).await?;
    Ok(())
}

/// One row each, in one order for all writers: rows taken in two orders are a deadlock.
fn summed(finalized: &[Finalized]) -> Result<BTreeMap<Row, Sums>, MoneyError> {
    let mut rows: BTreeMap<Row, Sums> = BTreeMap::new();
    for one in finalized {
        let (month, currency) = (one.month, one.total.currency());
        let row = Row {
            month,
            currency,
            bucket: one.part % BUCKETS,
        };
        let sums = rows.entry(row).or_default();
        sums.invoices += 1;
        sums.zero += i64::from(one.total.is_zero());
        sums.paid += i64::from(one.is_paid);
        sums.open += i64::from(!one.is_paid);
        sums.lines += one.lines;
        let invoiced = Money::new(sums.invoiced_minor, currency).add(one.total)?;
        sums.invoiced_minor = invoiced.minor();
    }
    Ok(rows)
}

/// A month's figures in one currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figures {
    /// The final invoices.
    pub invoices: i64,
    /// Of these, those that ask for nothing.
    pub zero: i64,
    /// Those that are paid.
    pub paid: i64,
    /// Those that wait for money.
    pub open: i64,
    /// The lines of all of them.
    pub lines: i64,
    /// What they ask for together, and in which currency.
    pub invoiced: Money,
}

/// The figures of a month, by currency.
///
/// # Errors
/// [`ReportError`].
pub async fn of_month(pool: &PgPool, month: NaiveDate) -> Result<Vec<Figures>, ReportError> {
    store::of_month(pool, month).await
}

/// A line of the list: an invoice, or an account's period that could not be billed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The account, as the customer's own system calls it.
    pub external_id: String,
    /// The customer's name: the frozen one where there is an invoice.
    pub name: String,
    /// What came of the period.
    pub outcome: Outcome,
}

/// What came of a period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was billed.
    Invoice {
        /// The number as people write it.
        number: String,
        /// What is asked for.
        total: Money,
        /// `finalized`, `paid`, `void` or `written_off`.
        state: String,
        /// How many lines.
        lines: i32,
    },
    /// It could not be billed.
    Exception {
        /// The account's currency.
        currency: Currency,
        /// Why.
        reason: String,
    },
}

/// All invoices of a month in the order of their numbers, then the exceptions by account.
pub fn invoices(
    pool: &PgPool,
    month: NaiveDate,
) -> impl Stream<Item = Result<Entry, ReportError>> + Send {
    store::invoices(pool, month).chain(store::exceptions(pool, month))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finalized(code: &str, minor: i64, part: i16) -> Finalized {
        let total = Money::new(minor, Currency::parse(code).unwrap());
        let month = NaiveDate::from_ymd_opt(2024, 9, 1).unwrap();
        Finalized {
            month,
            total,
            lines: 3,
            is_paid: minor == 0,
            part,
        }
    }

    #[test]
    fn a_batch_becomes_one_row_per_currency_and_bucket_in_order() {
        let batch = [
            finalized("USD", 5, 9),
            finalized("EUR", 7, 1),
            finalized("USD", 0, 1),
            finalized("EUR", 1, 2),
        ];

        let rows = summed(&batch).unwrap();

        let shown: Vec<_> = rows
            .iter()
            .map(|(row, sums)| {
                (
                    row.currency.code(),
                    row.bucket,
                    sums.invoices,
                    sums.invoiced_minor,
                )
            })
            .collect();
        assert_eq!(
            shown,
            [("EUR", 1, 1, 7), ("EUR", 2, 1, 1), ("USD", 1, 2, 5)]
        );
        let usd = rows.values().last().unwrap();
        assert_eq!((usd.zero, usd.paid, usd.open, usd.lines), (1, 1, 1, 6));
    }

    #[test]
    fn a_sum_that_does_not_fit_is_refused() {
        let batch = [finalized("USD", i64::MAX, 1), finalized("USD", 1, 1)];

        assert_eq!(summed(&batch), Err(MoneyError::Overflow));
    }
}
