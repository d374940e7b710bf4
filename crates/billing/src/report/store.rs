//! The statements of reports.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use futures::{Stream, StreamExt};
use outbox::UnitOfWork;
use sqlx::PgPool;

use super::{Entry, Figures, Outcome, ReportError, Row, Sums};
use crate::invoice::written_number;
use crate::money::{Currency, Money};

/// Adds sums to the kept figures, in the order of the rows.
pub(super) async fn add(
    tx: &mut UnitOfWork,
    rows: &BTreeMap<Row, Sums>,
) -> Result<(), sqlx::Error> {
    let column = |of: fn(&Sums) -> i64| rows.values().map(of).collect::<Vec<i64>>();
    let months: Vec<NaiveDate> = rows.keys().map(|row| row.month).collect();
    let currencies: Vec<String> = rows
        .keys()
        .map(|row| row.currency.code().to_owned())
        .collect();
    let buckets: Vec<i16> = rows.keys().map(|row| row.bucket).collect();
    sqlx::query!(
        "
        -- report: add to the figures
        insert into billing.collection_figure as kept (
            month, currency, bucket, invoices, zero, paid, open, lines, invoiced_minor
        )
        select month, currency, bucket, invoices, zero, paid, open, lines, invoiced_minor
        from unnest(
            $1::date[], $2::text[], $3::smallint[], $4::bigint[], $5::bigint[], $6::bigint[],
            $7::bigint[], $8::bigint[], $9::bigint[]
        ) with ordinality as batch (
            month, currency, bucket, invoices, zero, paid, open, lines, invoiced_minor, nth
        )
        order by nth
        on conflict (month, currency, bucket)
        do update set
            invoices = kept.invoices + excluded.invoices,
            zero = kept.zero + excluded.zero,
            paid = kept.paid + excluded.paid,
            open = kept.open + excluded.open,
            lines = kept.lines + excluded.lines,
            invoiced_minor = kept.invoiced_minor + excluded.invoiced_minor
        ",
        &months,
        &currencies,
        &buckets,
        &column(|sums| sums.invoices),
        &column(|sums| sums.zero),
        &column(|sums| sums.paid),
        &column(|sums| sums.open),
        &column(|sums| sums.lines),
        &column(|sums| sums.invoiced_minor),
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The kept figures of a month, by currency.
pub(super) async fn of_month(pool: &PgPool, month: NaiveDate) -> Result<Vec<Figures>, ReportError> {
    let rows = sqlx::query!(
        r#"
        -- report: figures of a month
        select currency,
            sum(invoices)::bigint as "invoices!",
            sum(zero)::bigint as "zero!",
            sum(paid)::bigint as "paid!",
            sum(open)::bigint as "open!",
            sum(lines)::bigint as "lines!",
            sum(invoiced_minor)::bigint as "invoiced_minor!"
        from billing.collection_figure
        where month = $1
        group by currency
        order by currency
        "#,
        month,
    )
    .fetch_all(pool)
    .await?;
    let figures = rows.into_iter().map(|row| {
        Ok(Figures {
            invoices: row.invoices,
            zero: row.zero,
            paid: row.paid,
            open: row.open,
            lines: row.lines,
            invoiced: Money::new(row.invoiced_minor, Currency::parse(&row.currency)?),
        })
    });
    figures.collect()
}

/// The invoices of a month, by number.
pub(super) fn invoices(
    pool: &PgPool,
    month: NaiveDate,
) -> impl Stream<Item = Result<Entry, ReportError>> + Send {
    sqlx::query!(
        r#"
        -- report: invoices of a month
        select series, number, external_id, customer_name, currency, total_minor, state, lines
        from billing.invoice
        where month = $1
        order by series, number
        "#,
        month,
    )
    .fetch(pool)
    .map(|row| {
        let row = row?;
        Ok(Entry {
            external_id: row.external_id,
            name: row.customer_name,
            outcome: Outcome::Invoice {
                number: written_number(&row.series, row.number),
                total: Money::new(row.total_minor, Currency::parse(&row.currency)?),
                state: row.state,
                lines: row.lines,
            },
        })
    })
}

/// The periods of a month that could not be billed, by account.
pub(super) fn exceptions(
    pool: &PgPool,
    month: NaiveDate,
) -> impl Stream<Item = Result<Entry, ReportError>> + Send {
    sqlx::query!(
        "
        -- report: exceptions of a month
        select external_id, name, currency, reason
        from billing.close_exception
        join billing.account using (account_id)
        where month = $1
        order by external_id, period_seq
        ",
        month,
    )
    .fetch(pool)
    .map(|row| {
        let row = row?;
        let currency = Currency::parse(&row.currency)?;
        let outcome = Outcome::Exception {
            currency,
            reason: row.reason,
        };
        Ok(Entry {
            external_id: row.external_id,
            name: row.name,
            outcome,
        })
    })
}
