//! An invoice as JSON. Amounts, rates and quantities are decimal strings: no reader rounds them.

use billing::document::{FrozenInvoice, FrozenLine};
use billing::ids::{AccountId, InvoiceId};
use billing::invoice::Summary;
use billing::money::Currency;
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::Serialize;

use crate::page::written_month;
use crate::payments::PaymentView;

/// An invoice without its lines.
#[derive(Debug, Serialize)]
pub(crate) struct SummaryView {
    invoice_id: InvoiceId,
    number: String,
    account_id: AccountId,
    external_id: String,
    customer_name: String,
    month: String,
    state: String,
    currency: Currency,
    subtotal: String,
    tax: String,
    total: String,
    /// What credit paid of it when it became final.
    credit: String,
    /// What payments and credit have settled by now.
    settled: String,
    due: String,
    due_minor: i64,
    line_count: i32,
    finalized_at: DateTime<Utc>,
    paid_at: Option<DateTime<Utc>>,
}

impl SummaryView {
    pub(super) fn number(&self) -> String {
        self.number.clone()
    }
}

impl From<Summary> for SummaryView {
    fn from(summary: Summary) -> Self {
        Self {
            invoice_id: summary.invoice_id,
            number: summary.number.to_string(),
            account_id: summary.account_id,
            external_id: summary.external_id,
            customer_name: summary.customer_name,
            month: written_month(summary.month),
            state: summary.state,
            currency: summary.total.currency(),
            subtotal: summary.subtotal.decimal(),
            tax: summary.tax.decimal(),
            total: summary.total.decimal(),
            credit: summary.credit.decimal(),
            settled: summary.settled.decimal(),
            due: summary.due.decimal(),
            due_minor: summary.due.minor(),
            line_count: summary.lines,
            finalized_at: summary.finalized_at,
            paid_at: summary.paid_at,
        }
    }
}

/// An invoice with its lines and the payments for it.
#[derive(Debug, Serialize)]
pub(crate) struct InvoiceView {
    #[serde(flatten)]
    summary: SummaryView,
    zone: &'static str,
    start_at: DateTime<Utc>,
    end_at: DateTime<Utc>,
    as_of: DateTime<Utc>,
    lines: Vec<LineView>,
    payments: Vec<PaymentView>,
}

impl InvoiceView {
    pub(super) fn of(summary: Summary, frozen: FrozenInvoice, payments: Vec<PaymentView>) -> Self {
        Self {
            summary: summary.into(),
            zone: frozen.zone.name(),
            start_at: frozen.start_at,
            end_at: frozen.end_at,
            as_of: frozen.as_of,
            lines: frozen.lines.into_iter().map(LineView::from).collect(),
            payments,
        }
    }
}

#[derive(Debug, Serialize)]
struct LineView {
    description: String,
    price_code: String,
    unit: String,
    /// Null where an amount was passed through.
    unit_price: Option<String>,
    usage_month: String,
    quantity: String,
    /// Before its one rounding.
    exact: String,
    amount: String,
}

impl From<FrozenLine> for LineView {
    fn from(line: FrozenLine) -> Self {
        let written = |x: Decimal| x.normalize().to_string();
        Self {
            description: line.description,
            price_code: line.price_code,
            unit: line.unit,
            unit_price: line.unit_price.map(written),
            usage_month: written_month(line.usage_month),
            quantity: written(line.quantity),
            exact: written(line.exact),
            amount: line.amount.decimal(),
        }
    }
}
