//! An invoice: what an account owes for a period, frozen when it is finalized.
//!
//! It is born final: number, lines, totals, ledger transfer, balances and event come in one
//! transaction, and afterwards only its state moves on. Totals of zero or less leave nothing to
//! pay: they are paid at once, and a negative one goes to the account's credit.
//!
//! Owns `billing.invoice`, `billing.line`, `billing.number_series`. Emits `invoice.finalized`.

mod digest;
mod finalize;
mod rate;
mod store;
mod summary;

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;

use crate::ids::{AccountId, InvoiceId, PriceId, RunId};
use crate::money::{Currency, Money};

pub use crate::ids::written_number;
pub use finalize::{Closing, FinalizeError, finalize_all};
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

/// The sum of a period's usage at one price and of one month.
///
/// Model, currency and numbers are as the tables write them: what cannot be understood has to
/// become an exception of its account, and not an error of the statement that reads hundreds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sum {
    /// The price.
    pub price: PriceId,
    /// The price's code.
    pub price_code: String,
    /// What the line will say.
    pub description: String,
    /// `per_unit` or `pass_through`.
    pub model: String,
    /// The price's currency.
    pub currency: String,
    /// Major units of the currency per unit of use, of a price per unit.
    pub unit_price: Option<String>,
    /// The unit of use.
    pub unit: String,
    /// The month in which it was used, by its first day.
    pub usage_month: NaiveDate,
    /// How much was used.
    pub quantity: String,
    /// Major units of the currency, of a price that is passed through.
    pub amount: String,
    /// How many usage events were summed.
    pub events: i64,
    /// Exclusive or over them.
    pub digest: i64,
}

/// A rated line, rounded once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The price.
    pub price: PriceId,
    /// The price's code.
    pub price_code: String,
    /// What was sold.
    pub description: String,
    /// `per_unit` or `pass_through`.
    pub model: String,
    /// The unit of use.
    pub unit: String,
    /// Major units per unit of use, of a price per unit.
    pub unit_price: Option<Decimal>,
    /// The month in which it was used, by its first day.
    pub usage_month: NaiveDate,
    /// How much was used.
    pub quantity: Decimal,
    /// Before rounding, in major units.
    pub exact: Decimal,
    /// After rounding.
    pub amount: Money,
    /// How many usage events it bills.
    pub usage_events: i64,
    /// Exclusive or over them.
    pub usage_digest: i64,
}

impl Line {
    /// The multiplication that made the line, as text.
    #[must_use]
    pub fn explain(&self) -> String {
        let Self {
            exact,
            amount,
            quantity,
            unit,
            usage_events,
            ..
        } = self;
        let currency = amount.currency();
        match self.unit_price {
            Some(rate) => format!("{quantity} {unit} × {rate} {currency} = {exact} → {amount}"),
            None => format!("{usage_events} charges, in sum {exact} {currency} → {amount}"),
        }
    }
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
