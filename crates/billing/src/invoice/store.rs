//! The statements of invoices: one per table for a whole chunk.

use outbox::copy::{Rows, Target};
use outbox::{UnitOfWork, planted};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Draft, Line, Numbered, SERIES};
use crate::ids::InvoiceId;

/// Takes a block of `count` numbers of a series; answers the first. The counter's row stays locked
/// until the transaction ends, so a block that is rolled back leaves no gap.
pub(super) async fn take_numbers(
    tx: &mut PgConnection,
    series: &str,
    count: usize,
) -> Result<i64, sqlx::Error> {
    let count = i64::try_from(count).expect("a chunk has fewer than 2^63 invoices");
    if planted::is("B14") {
        return from_a_sequence(tx, count).await;
    }
    sqlx::query_scalar!(
        r#"
        -- invoice: take a block of numbers
        insert into billing.number_series (series, next_number)
        values ($1, 1 + $2::bigint)
        on conflict (series) do update set next_number = number_series.next_number + $2
        returning next_number - $2 as "first!"
        "#,
        series,
        count,
    )
    .fetch_one(tx)
    .await
}

/// Planted: a sequence gives nothing back when a transaction is rolled back.
async fn from_a_sequence(tx: &mut PgConnection, count: i64) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"
        -- invoice: planted: numbers of a sequence
        select min(number) as "first!"
        from (select nextval('outbox.event_id') as number from generate_series(1, $1::bigint)) taken
        "#,
        count,
    )
    .fetch_one(tx)
    .await
}

const INVOICES: Target = Target {
    table: "billing.invoice",
    columns: &[
        "invoice_id",
        "account_id",
        "period_seq",
        "kind",
        "run_id",
        "series",
        "number",
        "state",
        "external_id",
        "customer_name",
        "zone",
        "month",
        "start_at",
        "end_at",
        "as_of",
        "currency",
        "lines",
        "subtotal_minor",
        "tax_minor",
        "total_minor",
        "credit_minor",
        "settled_minor",
        "digest",
        "finalized_at",
        "paid_at",
        "announced_by",
    ],
};

pub(super) async fn insert(tx: &mut UnitOfWork, invoices: &[Numbered]) -> Result<(), sqlx::Error> {
    let mut rows = Rows::new(INVOICES);
    for invoice in invoices {
        put_invoice(rows.row(), invoice);
    }
    tx.copy(rows).await?;
    Ok(())
}

fn put_invoice(row: &mut Rows, invoice: &Numbered) {
    let (draft, header) = (&invoice.draft, &invoice.draft.header);
    let lines = i32::try_from(draft.lines.len());
    let paid_at = (invoice.state() == "paid").then_some(invoice.finalized_at);
    row.put(Uuid::from(invoice.invoice))
        .put(Uuid::from(header.account))
        .put(header.period_seq)
        .put("regular")
        .put(Uuid::from(invoice.run))
        .put(SERIES)
        .put(invoice.number)
        .put(invoice.state())
        .put(&header.external_id)
        .put(&header.customer_name)
        .put(&header.zone)
        .put(header.month)
        .put(header.start_at)
        .put(header.end_at)
        .put(invoice.as_of)
        .put(draft.currency.code())
        .put(lines.expect("an invoice has fewer than 2^31 lines"))
        .put(draft.subtotal.minor())
        .put(draft.tax.minor())
        .put(draft.total.minor())
        .put(invoice.credit.minor())
        .put(invoice.credit.minor())
        .put(&invoice.digest()[..])
        .put(invoice.finalized_at)
        .put(paid_at)
        .put(invoice.event);
}

const LINES: Target = Target {
    table: "billing.line",
    columns: &[
        "invoice_id",
        "line_no",
        "price_id",
        "price_code",
        "description",
        "model",
        "unit",
        "unit_price",
        "subscription_id",
        "monthly_price",
        "cap_hours",
        "served_from",
        "served_until",
        "usage_month",
        "quantity",
        "exact",
        "amount_minor",
        "usage_events",
        "usage_digest",
    ],
};

pub(super) async fn insert_lines(
    tx: &mut UnitOfWork,
    drafts: impl Iterator<Item = (InvoiceId, &Draft)>,
) -> Result<(), sqlx::Error> {
    let mut rows = Rows::new(LINES);
    for (invoice, draft) in drafts {
        for (line, n) in draft.lines.iter().zip(1..) {
            rows.row().put(Uuid::from(invoice)).put(n);
            put_line(&mut rows, line);
        }
    }
    tx.copy(rows).await?;
    Ok(())
}

fn put_line(row: &mut Rows, line: &Line) {
    let (terms, served) = (&line.terms, line.served.as_ref());
    let (monthly_price, cap_hours) = served.and_then(|served| served.cap).unzip();
    row.put(Uuid::from(terms.price))
        .put(&terms.code)
        .put(&*line.description())
        .put(&terms.model)
        .put(&terms.unit)
        .put(line.unit_price)
        .put(served.map(|served| Uuid::from(served.subscription)))
        .put(monthly_price)
        .put(cap_hours)
        .put(served.map(|served| served.from))
        .put(served.map(|served| served.until))
        .put(line.usage_month)
        .put(line.quantity)
        .put(line.exact)
        .put(line.amount.minor())
        .put(line.usage_events)
        .put(line.usage_digest);
}
