//! The statements of invoices: one per table for a whole chunk.

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Closing, Line, Numbered, SERIES};

/// Takes a block of `count` numbers of a series; answers the first. The counter's row stays locked
/// until the transaction ends, so a block that is rolled back leaves no gap.
pub(super) async fn take_numbers(
    tx: &mut PgConnection,
    series: &str,
    count: usize,
) -> Result<i64, sqlx::Error> {
    let count = i64::try_from(count).expect("a chunk has fewer than 2^63 invoices");
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

#[derive(Default)]
struct Rows {
    invoice_id: Vec<Uuid>,
    account_id: Vec<Uuid>,
    period_seq: Vec<i32>,
    number: Vec<i64>,
    state: Vec<String>,
    external_id: Vec<String>,
    customer_name: Vec<String>,
    zone: Vec<String>,
    month: Vec<NaiveDate>,
    start_at: Vec<DateTime<Utc>>,
    end_at: Vec<DateTime<Utc>>,
    currency: Vec<String>,
    lines: Vec<i32>,
    subtotal_minor: Vec<i64>,
    tax_minor: Vec<i64>,
    total_minor: Vec<i64>,
    credit_minor: Vec<i64>,
    digest: Vec<Vec<u8>>,
    announced_by: Vec<Uuid>,
}

impl Rows {
    fn push(&mut self, invoice: &Numbered) {
        let (draft, header) = (&invoice.draft, &invoice.draft.header);
        let lines = i32::try_from(draft.lines.len());
        self.invoice_id.push(invoice.invoice.into());
        self.account_id.push(header.account.into());
        self.period_seq.push(header.period_seq);
        self.number.push(invoice.number);
        self.state.push(invoice.state().to_owned());
        self.external_id.push(header.external_id.clone());
        self.customer_name.push(header.customer_name.clone());
        self.zone.push(header.zone.clone());
        self.month.push(header.month);
        self.start_at.push(header.start_at);
        self.end_at.push(header.end_at);
        self.currency.push(draft.currency.code().to_owned());
        self.lines
            .push(lines.expect("an invoice has fewer than 2^31 lines"));
        self.subtotal_minor.push(draft.subtotal.minor());
        self.tax_minor.push(draft.tax.minor());
        self.total_minor.push(draft.total.minor());
        self.credit_minor.push(invoice.credit.minor());
        self.digest.push(invoice.digest().to_vec());
        self.announced_by.push(invoice.event);
    }
}

pub(super) async fn insert(
    tx: &mut PgConnection,
    invoices: &[Numbered],
    closing: Closing,
) -> Result<(), sqlx::Error> {
    let mut rows = Rows::default();
    invoices.iter().for_each(|invoice| rows.push(invoice));
    sqlx::query!(
        "
        -- invoice: insert
        insert into billing.invoice (
            invoice_id, account_id, period_seq, number, state, external_id, customer_name, zone,
            month, start_at, end_at, currency, lines, subtotal_minor, tax_minor, total_minor,
            digest, announced_by, credit_minor, settled_minor, kind, run_id, series, as_of,
            finalized_at, paid_at
        )
        select invoice_id, account_id, period_seq, number, state, external_id, customer_name, zone,
            month, start_at, end_at, currency, lines, subtotal_minor, tax_minor, total_minor,
            digest, announced_by, credit_minor, credit_minor, 'regular', $20::uuid, $21::text,
            $22::timestamptz, $23::timestamptz, case state when 'paid' then $23::timestamptz end
        from unnest(
            $1::uuid[], $2::uuid[], $3::int[], $4::bigint[], $5::text[], $6::text[], $7::text[],
            $8::text[], $9::date[], $10::timestamptz[], $11::timestamptz[], $12::text[],
            $13::int[], $14::bigint[], $15::bigint[], $16::bigint[], $17::bytea[], $18::uuid[],
            $19::bigint[]
        ) as numbered (
            invoice_id, account_id, period_seq, number, state, external_id, customer_name, zone,
            month, start_at, end_at, currency, lines, subtotal_minor, tax_minor, total_minor,
            digest, announced_by, credit_minor
        )
        ",
        &rows.invoice_id,
        &rows.account_id,
        &rows.period_seq,
        &rows.number,
        &rows.state,
        &rows.external_id,
        &rows.customer_name,
        &rows.zone,
        &rows.month,
        &rows.start_at,
        &rows.end_at,
        &rows.currency,
        &rows.lines,
        &rows.subtotal_minor,
        &rows.tax_minor,
        &rows.total_minor,
        &rows.digest,
        &rows.announced_by,
        &rows.credit_minor,
        Uuid::from(closing.run),
        SERIES,
        closing.as_of,
        closing.now,
    )
    .execute(tx)
    .await?;
    Ok(())
}

#[derive(Default)]
struct LineRows {
    invoice_id: Vec<Uuid>,
    line_no: Vec<i32>,
    price_id: Vec<Uuid>,
    price_code: Vec<String>,
    description: Vec<String>,
    model: Vec<String>,
    unit: Vec<String>,
    unit_price: Vec<Option<Decimal>>,
    usage_month: Vec<NaiveDate>,
    quantity: Vec<Decimal>,
    exact: Vec<Decimal>,
    amount_minor: Vec<i64>,
    usage_events: Vec<i64>,
    usage_digest: Vec<i64>,
}

impl LineRows {
    fn push(&mut self, invoice: Uuid, line_no: i32, line: &Line) {
        self.invoice_id.push(invoice);
        self.line_no.push(line_no);
        self.price_id.push(line.price.into());
        self.price_code.push(line.price_code.clone());
        self.description.push(line.description.clone());
        self.model.push(line.model.clone());
        self.unit.push(line.unit.clone());
        self.unit_price.push(line.unit_price);
        self.usage_month.push(line.usage_month);
        self.quantity.push(line.quantity);
        self.exact.push(line.exact);
        self.amount_minor.push(line.amount.minor());
        self.usage_events.push(line.usage_events);
        self.usage_digest.push(line.usage_digest);
    }
}

pub(super) async fn insert_lines(
    tx: &mut PgConnection,
    invoices: &[Numbered],
) -> Result<(), sqlx::Error> {
    let mut rows = LineRows::default();
    for invoice in invoices {
        for (line, n) in invoice.draft.lines.iter().zip(1..) {
            rows.push(invoice.invoice.into(), n, line);
        }
    }
    sqlx::query!(
        "
        -- invoice: insert lines
        insert into billing.line (
            invoice_id, line_no, price_id, price_code, description, model, unit, unit_price,
            usage_month, quantity, exact, amount_minor, usage_events, usage_digest
        )
        select invoice_id, line_no, price_id, price_code, description, model, unit, unit_price,
            usage_month, quantity, exact, amount_minor, usage_events, usage_digest
        from unnest(
            $1::uuid[], $2::int[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[],
            $8::numeric[], $9::date[], $10::numeric[], $11::numeric[], $12::bigint[],
            $13::bigint[], $14::bigint[]
        ) as rated (
            invoice_id, line_no, price_id, price_code, description, model, unit, unit_price,
            usage_month, quantity, exact, amount_minor, usage_events, usage_digest
        )
        ",
        &rows.invoice_id,
        &rows.line_no,
        &rows.price_id,
        &rows.price_code,
        &rows.description,
        &rows.model,
        &rows.unit,
        &rows.unit_price as &[Option<Decimal>],
        &rows.usage_month,
        &rows.quantity,
        &rows.exact,
        &rows.amount_minor,
        &rows.usage_events,
        &rows.usage_digest,
    )
    .execute(tx)
    .await?;
    Ok(())
}
