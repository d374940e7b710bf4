//! Document: a final invoice as a page that a customer reads and prints.
//!
//! It is drawn from what was frozen with the invoice and from nothing else: not from today's
//! account, not from the clock. So the same invoice gives the same bytes for ever, and writing its
//! file again changes nothing. The intent row comes before the file and says at the end what was
//! written.
//!
//! Owns `billing.document`. Reads `billing.invoice`, `billing.line`. Emits nothing.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use outbox::{UnitOfWork, failpoint};
use rust_decimal::Decimal;
use sqlx::PgConnection;

use crate::ids::InvoiceId;
use crate::invoice::written_number;
use crate::money::{Currency, Money, MoneyError};

mod digits;
mod page;
mod store;
mod whole_file;
mod whole_files;

pub use digits::grouped;
pub use page::render;
pub use store::{intend, written};
pub use whole_file::{WholeFile, clear_leftovers, sync_folder};
pub use whole_files::write_all;

/// So many invoices' files lie in one folder: people and backups open it without waiting.
const FILES_PER_FOLDER: i64 = 1000;

/// A final invoice as it was frozen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrozenInvoice {
    /// Which.
    pub invoice_id: InvoiceId,
    /// The series of its number.
    pub series: String,
    /// Its number in the series.
    pub number: i64,
    /// The account, as the customer's own system calls it.
    pub external_id: String,
    /// Who is billed.
    pub customer_name: String,
    /// The account's time zone.
    pub zone: Tz,
    /// The month billed, by its first day.
    pub month: NaiveDate,
    /// The period's first instant.
    pub start_at: DateTime<Utc>,
    /// The instant at which the period has ended.
    pub end_at: DateTime<Utc>,
    /// The instant of the figures.
    pub as_of: DateTime<Utc>,
    /// The currency of every amount.
    pub currency: Currency,
    /// The lines' sum.
    pub subtotal: Money,
    /// The tax.
    pub tax: Money,
    /// What the invoice asks for.
    pub total: Money,
    /// What of it the account's credit paid when it became final.
    pub credit: Money,
    /// All lines in their order, those without charge too.
    pub lines: Vec<FrozenLine>,
}

/// A line of a final invoice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrozenLine {
    /// What was used.
    pub description: String,
    /// The price's code.
    pub price_code: String,
    /// What the quantity counts.
    pub unit: String,
    /// Major units per unit; absent where an amount was passed through.
    pub unit_price: Option<Decimal>,
    /// The month of the usage; earlier than the invoice's where it was reported late.
    pub usage_month: NaiveDate,
    /// How much was used.
    pub quantity: Decimal,
    /// Major units before the rounding.
    pub exact: Decimal,
    /// The line's amount.
    pub amount: Money,
}

impl FrozenInvoice {
    /// The number as people write it: `INV-000001`.
    #[must_use]
    pub fn name(&self) -> String {
        written_number(&self.series, self.number)
    }

    /// Where its file lies below the documents' folder: `2024-09/INV-000xxx/INV-000001.html`.
    #[must_use]
    pub fn path(&self) -> String {
        let (series, thousand) = (file_name(&self.series), self.number / FILES_PER_FOLDER);
        let (month, number) = (self.month.format("%Y-%m"), self.number);
        format!("{month}/{series}-{thousand:03}xxx/{series}-{number:06}.html")
    }
}

/// A series in a file's name: whatever could leave the folder or confuse a shell becomes a dash.
fn file_name(series: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || c == '_' {
            c
        } else {
            '-'
        }
    };
    series.chars().map(plain).collect()
}

/// The intent to write an invoice's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// Whose.
    pub invoice_id: InvoiceId,
    /// Where, below the documents' folder. It was decided once and stays.
    pub path: String,
    /// Whether it was intended before: the file may be there, whole or not.
    pub is_again: bool,
}

/// The proof that an invoice's file was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Whose.
    pub invoice_id: InvoiceId,
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
    /// How many they are.
    pub bytes: i64,
}

/// Why an invoice could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// There is no such invoice.
    #[error("there is no invoice {0}")]
    Missing(InvoiceId),
    /// Fewer or more lines than were frozen.
    #[error("invoice {0} does not have the lines that were frozen with it: restore them")]
    Lines(InvoiceId),
    /// The time zone is not known to this program.
    #[error("invoice {invoice_id} was frozen in the time zone {zone:?}, which is not known here")]
    Zone {
        /// Whose.
        invoice_id: InvoiceId,
        /// The zone.
        zone: String,
    },
    /// The currency is not known to this program.
    #[error("invoice {invoice_id} has a currency that is not known here")]
    Currency {
        /// Whose.
        invoice_id: InvoiceId,
        /// Why.
        source: MoneyError,
    },
    /// The database refused a statement.
    #[error("could not load the invoice")]
    Database(#[from] sqlx::Error),
}

/// The invoice, as it was frozen.
///
/// # Errors
/// [`LoadError`].
pub async fn load(
    conn: &mut PgConnection,
    invoice_id: InvoiceId,
) -> Result<FrozenInvoice, LoadError> {
    let mut loaded = load_all(conn, &[invoice_id]).await?;
    loaded.pop().ok_or(LoadError::Missing(invoice_id))
}

/// The invoices, as they were frozen, in the order asked for.
///
/// # Errors
/// [`LoadError`]; one invoice that cannot be loaded fails all.
pub async fn load_all(
    conn: &mut PgConnection,
    invoice_ids: &[InvoiceId],
) -> Result<Vec<FrozenInvoice>, LoadError> {
    let mut found = store::invoices(conn, invoice_ids).await?;
    store::fill_lines(conn, &mut found).await?;
    in_order(&found, invoice_ids)
}

/// The invoices without their lines, in the order asked for: for whoever tells of a payment.
///
/// # Errors
/// [`LoadError`]; one invoice that cannot be loaded fails all.
pub(crate) async fn load_heads(
    conn: &mut PgConnection,
    invoice_ids: &[InvoiceId],
) -> Result<Vec<FrozenInvoice>, LoadError> {
    let found = store::invoices(conn, invoice_ids).await?;
    in_order(&found, invoice_ids)
}

fn in_order(
    found: &HashMap<InvoiceId, FrozenInvoice>,
    invoice_ids: &[InvoiceId],
) -> Result<Vec<FrozenInvoice>, LoadError> {
    let taken = |id: &InvoiceId| found.get(id).cloned().ok_or(LoadError::Missing(*id));
    invoice_ids.iter().map(taken).collect()
}

/// Intends the files of `invoices`, and says how each stands; in their order.
///
/// # Errors
/// The database's.
pub async fn intend_all(
    tx: &mut UnitOfWork,
    invoices: &[FrozenInvoice],
) -> Result<Vec<Intent>, sqlx::Error> {
    let paths: Vec<_> = invoices
        .iter()
        .map(|invoice| (invoice.invoice_id, invoice.path()))
        .collect();
    failpoint!("document.intending")?;
    intend(tx, &paths).await
}
