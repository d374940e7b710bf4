//! Report: where a month's collection stands, for the people of finance.
//!
//! The figures are kept by a consumer of the events, a row per month, currency and bucket, so that
//! they are there while a close runs. What is still open is looked at where it lies, with the
//! figures in one snapshot. The list of the invoices themselves is streamed.
//!
//! Owns `billing.collection_figure`. Reads `billing.invoice`, `billing.payment`, `billing.hold`,
//! `billing.notice`, `billing.close_exception`, `billing.account`. Emits nothing.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use futures::{Stream, StreamExt};
use outbox::UnitOfWork;
use serde::Serialize;
use sqlx::PgPool;

use crate::money::{Currency, Money, MoneyError};

mod sheet;
mod store;
mod table;

pub use sheet::{SheetError, write_csv};
pub use table::{open_table, table};

/// Into how many rows the figures of a month are spread: shards must not wait for one row.
const BUCKETS: i16 = 8;

/// What the figures need to know of an invoice that became final.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finalized {
    /// The month billed, by its first day.
    pub month: NaiveDate,
    /// What it asks for.
    pub total: Money,
    /// What of it credit paid at once.
    pub credit: Money,
    /// How many lines it has.
    pub lines: i64,
    /// Whether it was paid at once, by credit or having asked for nothing.
    pub is_paid: bool,
}

/// Something that the figures count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fact {
    /// An invoice became final.
    Finalized(Finalized),
    /// Money came in for an invoice of this month, named by its first day.
    Collected(NaiveDate, Money),
    /// An invoice of this month was paid after it had become final.
    Paid(NaiveDate, Currency),
}

/// Counts and sums of one currency's invoices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Sums {
    invoices: i64,
    zero: i64,
    paid: i64,
    lines: i64,
    invoiced_minor: i64,
    credit_minor: i64,
    collected_minor: i64,
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

/// Adds facts to the figures, each with the part of its event's key: each fact once, so it belongs
/// beside the consumer's position.
///
/// # Errors
/// [`ReportError`].
pub async fn count(tx: &mut UnitOfWork, facts: &[(Fact, i16)]) -> Result<(), ReportError> {
    let sums = summed(facts)?;
    store::add(tx, &sums).await?;
    Ok(())
}

/// One row each, in one order for all writers: rows taken in two orders are a deadlock.
fn summed(facts: &[(Fact, i16)]) -> Result<BTreeMap<Row, Sums>, MoneyError> {
    let mut rows: BTreeMap<Row, Sums> = BTreeMap::new();
    for (fact, part) in facts {
        let (month, currency) = fact.place();
        let row = Row {
            month,
            currency,
            bucket: part % BUCKETS,
        };
        rows.entry(row).or_default().add(fact)?;
    }
    Ok(rows)
}

impl Fact {
    fn place(&self) -> (NaiveDate, Currency) {
        match self {
            Self::Finalized(one) => (one.month, one.total.currency()),
            Self::Collected(month, money) => (*month, money.currency()),
            Self::Paid(month, currency) => (*month, *currency),
        }
    }
}

impl Sums {
    fn add(&mut self, fact: &Fact) -> Result<(), MoneyError> {
        match fact {
            Fact::Finalized(one) => {
                self.invoices += 1;
                self.zero += i64::from(one.total.is_zero());
                self.paid += i64::from(one.is_paid);
                self.lines += one.lines;
                self.invoiced_minor = more(self.invoiced_minor, one.total)?;
                self.credit_minor = more(self.credit_minor, one.credit)?;
            }
            Fact::Collected(_, money) => {
                self.collected_minor = more(self.collected_minor, *money)?;
            }
            Fact::Paid(..) => self.paid += 1,
        }
        Ok(())
    }
}

fn more(minor: i64, money: Money) -> Result<i64, MoneyError> {
    Ok(Money::new(minor, money.currency()).add(money)?.minor())
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
    /// What of it credit paid when they were finalized.
    pub credit: Money,
    /// What came in for them since.
    pub collected: Money,
}

/// Why invoices are still open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Their last payment was declined.
    Declined,
    /// Their accounts have no payment method.
    NoMethod,
    /// Less came in than was asked for: a person has to see why.
    Partly,
    /// A payment is under way.
    UnderWay,
    /// Nobody knows yet what became of a payment.
    Unknown,
    /// Their payment is still to be decided.
    Waiting,
}

/// Open invoices of a month that stand alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// How they stand.
    pub standing: Standing,
    /// How many.
    pub invoices: i64,
    /// What is due on them together.
    pub due: Money,
}

/// Where a month's collection stands, at one instant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Collection {
    /// By currency.
    pub figures: Vec<Figures>,
    /// What is open, by currency and standing.
    pub open: Vec<Open>,
    /// Accounts that are held while an invoice of the month is open.
    pub held: i64,
    /// Notices sent about the month's invoices.
    pub notices: i64,
}

/// Where a month's collection stands, from one snapshot: also while its close runs.
///
/// # Errors
/// [`ReportError`].
pub async fn collection(pool: &PgPool, month: NaiveDate) -> Result<Collection, ReportError> {
    store::collection(pool, month).await
}

/// The figures of a month, by currency.
///
/// # Errors
/// [`ReportError`].
pub async fn of_month(pool: &PgPool, month: NaiveDate) -> Result<Vec<Figures>, ReportError> {
    let mut conn = pool.acquire().await?;
    store::figures(&mut conn, month).await
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
        /// What of it is settled by now.
        settled: Money,
        /// How its last payment stands: `succeeded`, `declined: insufficient_funds`, none.
        payment: Option<String>,
        /// Whether the account is held.
        is_held: bool,
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

    fn month() -> NaiveDate {
        NaiveDate::from_ymd_opt(2024, 9, 1).unwrap()
    }

    fn finalized(code: &str, minor: i64) -> Fact {
        let total = Money::new(minor, Currency::parse(code).unwrap());
        Fact::Finalized(Finalized {
            month: month(),
            total,
            credit: Money::zero(total.currency()),
            lines: 3,
            is_paid: minor == 0,
        })
    }

    #[test]
    fn a_batch_becomes_one_row_per_currency_and_bucket_in_order() {
        let euro = Currency::parse("EUR").unwrap();
        let batch = [
            (finalized("USD", 5), 9),
            (finalized("EUR", 7), 1),
            (finalized("USD", 0), 1),
            (finalized("EUR", 1), 2),
            (Fact::Collected(month(), Money::new(4, euro)), 2),
            (Fact::Paid(month(), euro), 2),
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
                    sums.collected_minor,
                    sums.paid,
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                ("EUR", 1, 1, 7, 0, 0),
                ("EUR", 2, 1, 1, 4, 1),
                ("USD", 1, 2, 5, 0, 1)
            ]
        );
        let usd = rows.values().last().unwrap();
        assert_eq!((usd.zero, usd.lines), (1, 6));
    }

    #[test]
    fn a_sum_that_does_not_fit_is_refused() {
        let batch = [(finalized("USD", i64::MAX), 1), (finalized("USD", 1), 1)];

        assert_eq!(summed(&batch), Err(MoneyError::Overflow));
    }
}
