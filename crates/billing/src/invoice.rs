//! An invoice: what an account owes for a period, frozen when it is finalized.
//!
//! It is born final: number, lines, totals, ledger transfer, balances and event come in one
//! transaction, and afterwards only its state moves on. Totals of zero or less leave nothing to
//! pay: they are paid at once, and a negative one goes to the account's credit.
//!
//! Owns `billing.invoice`, `billing.line`, `billing.number_series`. Emits `invoice.finalized`.

mod digest;
mod finalize;
mod line;
mod rate;
mod store;
mod summary;

use chrono::{DateTime, NaiveDate, Utc};

use crate::ids::{AccountId, InvoiceId, RunId};
use crate::money::{Currency, Money};

pub use crate::ids::written_number;
pub use finalize::{Closing, FinalizeError, finalize_all};
pub use line::{Held, Line, Served, Sum, Terms};
pub use rate::{RatingError, rate};
pub use summary::{Filter, ListError, Number, Summary, by_id, by_number, list};

/// The series of regular invoices.
pub const SERIES: &str = "INV";

/// Who is billed for which period: what an invoice freezes of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The account.
    pub account: AccountId,
    /// The customer's own name for the account.
    pub external_id: String,
    /// The customer's name.
    pub customer_name: String,
    /// ISO 4217, as the account's row has it.
    pub currency: String,
    /// IANA name of the period's time zone.
    pub zone: String,
    /// Which of the account's periods.
    pub period_seq: i32,
    /// The local month, by its first day.
    pub month: NaiveDate,
    /// The period's first instant.
    pub start_at: DateTime<Utc>,
    /// The first instant after the period.
    pub end_at: DateTime<Utc>,
}

/// A rated invoice without its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Who and which period.
    pub header: Header,
    /// The account's currency, understood.
    pub currency: Currency,
    /// In their order on the invoice.
    pub lines: Vec<Line>,
    /// The sum of the lines.
    pub subtotal: Money,
    /// Tax on it; none is charged yet.
    pub tax: Money,
    /// Subtotal and tax.
    pub total: Money,
}

/// A draft that got its ids and its number, on the way into the tables.
#[derive(Debug)]
struct Numbered {
    invoice: InvoiceId,
    event: uuid::Uuid,
    number: i64,
    run: RunId,
    as_of: DateTime<Utc>,
    finalized_at: DateTime<Utc>,
    /// What the account's credit pays at once.
    credit: Money,
    draft: Draft,
}

impl Numbered {
    /// Nothing is due of a total of zero or less, nor of one that credit covers: it is paid when it
    /// is finalized.
    fn state(&self) -> &'static str {
        if self.draft.total.minor() > self.credit.minor() {
            "finalized"
        } else {
            "paid"
        }
    }
}
