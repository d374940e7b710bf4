//! Reading invoices: one by its id or number, or the list of them, without their lines.
//!
//! Reads `billing.invoice`.

use std::fmt;

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::PgPool;

use super::written_number;
use crate::ids::{AccountId, InvoiceId};
use crate::money::{Money, MoneyError};

mod store;

/// A number: unique in its series, and gapless.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Number {
    series: String,
    number: i64,
}

impl Number {
    /// The number that is written as `INV-000001`; none if nothing is ever written so.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (series, digits) = text.rsplit_once('-')?;
        let number: i64 = digits.parse().ok()?;
        let is_ours = written_number(series, number) == text;
        let is_text = !series.chars().any(char::is_control);
        (is_ours && is_text).then(|| Self {
            series: series.to_owned(),
            number,
        })
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&written_number(&self.series, self.number))
    }
}

/// An invoice without its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Its id.
    pub invoice_id: InvoiceId,
    /// Its number.
    pub number: Number,
    /// The account.
    pub account_id: AccountId,
    /// The account, as the customer's own system called it then.
    pub external_id: String,
    /// Who is billed.
    pub customer_name: String,
    /// The month billed, by its first day.
    pub month: NaiveDate,
    /// `finalized`, `paid`, `void` or `written_off`.
    pub state: String,
    /// How many lines it has.
    pub lines: i32,
    /// The lines' sum.
    pub subtotal: Money,
    /// The tax.
    pub tax: Money,
    /// What the invoice asks for.
    pub total: Money,
    /// What credit paid of it when it became final.
    pub credit: Money,
    /// What payments and credit have settled by now, that credit included.
    pub settled: Money,
    /// What is still to be paid; nothing on one that is paid, void or written off.
    pub due: Money,
    /// When it became final.
    pub finalized_at: DateTime<Utc>,
    /// When it was paid, if it is.
    pub paid_at: Option<DateTime<Utc>>,
}

/// Which invoices are wanted; all, where nothing is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Filter {
    /// Of this month, by its first day.
    pub month: Option<NaiveDate>,
    /// Of this account.
    pub account: Option<AccountId>,
}

/// Why invoices could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// Its currency is not known to this program.
    #[error("invoice {number} has a currency that is not known here")]
    Currency {
        /// Its number.
        number: Number,
        /// Why.
        source: MoneyError,
    },
    /// The database refused or was lost.
    #[error("could not read invoices")]
    Database(#[from] sqlx::Error),
}

/// The invoice of an id, if there is one.
///
/// # Errors
/// [`ListError`].
pub async fn by_id(pool: &PgPool, invoice_id: InvoiceId) -> Result<Option<Summary>, ListError> {
    store::by_id(pool, invoice_id).await
}

/// The invoice of a number, if there is one.
///
/// # Errors
/// [`ListError`].
pub async fn by_number(pool: &PgPool, number: &Number) -> Result<Option<Summary>, ListError> {
    store::by_number(pool, number).await
}

/// At most `limit` invoices after the number named, or from the first on, in the order of their
/// numbers.
///
/// # Errors
/// [`ListError`].
pub async fn list(
    pool: &PgPool,
    filter: Filter,
    after: Option<&Number>,
    limit: u32,
) -> Result<Vec<Summary>, ListError> {
    store::list(pool, filter, after, limit).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_reads_as_it_is_written() {
        for text in ["INV-000001", "INV-1234567", "CN-EU-000012"] {
            assert_eq!(Number::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_never_written_is_no_number() {
        let huge = "INV-99999999999999999999";
        for text in [
            "",
            "INV",
            "INV-",
            "INV-1",
            "INV-0000001",
            "INV-00000x",
            huge,
            "I\0-000001",
        ] {
            assert_eq!(Number::parse(text), None, "{text:?}");
        }
    }
}
