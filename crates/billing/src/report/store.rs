//! The statements of reports.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use futures::{Stream, StreamExt};
use outbox::UnitOfWork;
use sqlx::{PgConnection, PgPool};

use super::{Collection, Entry, Figures, Open, Outcome, ReportError, Row, Standing, Sums};
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
            month, currency, bucket, invoices, zero, paid, lines, invoiced_minor, credit_minor,
            collected_minor
        )
        select month, currency, bucket, invoices, zero, paid, lines, invoiced_minor, credit_minor,
            collected_minor
        from unnest(
            $1::date[], $2::text[], $3::smallint[], $4::bigint[], $5::bigint[], $6::bigint[],
            $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[]
        ) with ordinality as batch (
            month, currency, bucket, invoices, zero, paid, lines, invoiced_minor, credit_minor,
            collected_minor, nth
        )
        order by nth
        on conflict (month, currency, bucket)
        do update set
            invoices = kept.invoices + excluded.invoices,
            zero = kept.zero + excluded.zero,
            paid = kept.paid + excluded.paid,
            lines = kept.lines + excluded.lines,
            invoiced_minor = kept.invoiced_minor + excluded.invoiced_minor,
            credit_minor = kept.credit_minor + excluded.credit_minor,
            collected_minor = kept.collected_minor + excluded.collected_minor
        ",
        &months,
        &currencies,
        &buckets,
        &column(|sums| sums.invoices),
        &column(|sums| sums.zero),
        &column(|sums| sums.paid),
        &column(|sums| sums.lines),
        &column(|sums| sums.invoiced_minor),
        &column(|sums| sums.credit_minor),
        &column(|sums| sums.collected_minor),
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// All of a month from one snapshot.
pub(super) async fn collection(pool: &PgPool, month: NaiveDate) -> Result<Collection, ReportError> {
    let mut tx = pool
        .begin_with("begin isolation level repeatable read read only")
        .await?;
    let collection = Collection {
        figures: figures(&mut tx, month).await?,
        open: open(&mut tx, month).await?,
        held: held(&mut tx, month).await?,
        notices: notices(&mut tx, month).await?,
    };
    tx.rollback().await?;
    Ok(collection)
}

/// The kept figures of a month, by currency.
pub(super) async fn figures(
    conn: &mut PgConnection,
    month: NaiveDate,
) -> Result<Vec<Figures>, ReportError> {
    let rows = sqlx::query!(
        r#"
        -- report: figures of a month
        select currency,
            sum(invoices)::bigint as "invoices!",
            sum(zero)::bigint as "zero!",
            sum(paid)::bigint as "paid!",
            sum(lines)::bigint as "lines!",
            sum(invoiced_minor)::bigint as "invoiced_minor!",
            sum(credit_minor)::bigint as "credit_minor!",
            sum(collected_minor)::bigint as "collected_minor!"
        from billing.collection_figure
        where month = $1
        group by currency
        order by currency
        "#,
        month,
    )
    .fetch_all(conn)
    .await?;
    let figures = rows.into_iter().map(|row| {
        let currency = Currency::parse(&row.currency)?;
        Ok(Figures {
            invoices: row.invoices,
            zero: row.zero,
            paid: row.paid,
            open: row.invoices - row.paid,
            lines: row.lines,
            invoiced: Money::new(row.invoiced_minor, currency),
            credit: Money::new(row.credit_minor, currency),
            collected: Money::new(row.collected_minor, currency),
        })
    });
    figures.collect()
}

async fn open(conn: &mut PgConnection, month: NaiveDate) -> Result<Vec<Open>, ReportError> {
    let rows = sqlx::query!(
        r#"
        -- report: open invoices of a month by how they stand
        select currency, standing as "standing!", count(*) as "invoices!",
            sum(due)::bigint as "due!"
        from (
            select currency, total_minor - settled_minor as due,
                case
                    when last.state in ('unknown', 'manual') then 'unknown'
                    when last.state in ('created', 'sent') then 'under_way'
                    when last.state = 'declined' then 'declined'
                    when last.state = 'succeeded' then 'partly'
                    when not exists (
                        select from billing.payment_method
                        where payment_method.account_id = invoice.account_id
                            and removed_at is null
                    ) then 'no_method'
                    else 'waiting'
                end as standing
            from billing.invoice
            left join lateral (
                select payment.state from billing.payment
                where payment.invoice_id = invoice.invoice_id
                order by attempt desc
                limit 1
            ) as last on true
            where month = $1 and invoice.state = 'finalized'
        ) as open
        group by currency, standing
        order by currency, standing
        "#,
        month,
    )
    .fetch_all(conn)
    .await?;
    let open = rows.into_iter().map(|row| {
        Ok(Open {
            standing: standing(&row.standing),
            invoices: row.invoices,
            due: Money::new(row.due, Currency::parse(&row.currency)?),
        })
    });
    open.collect()
}

fn standing(name: &str) -> Standing {
    match name {
        "declined" => Standing::Declined,
        "no_method" => Standing::NoMethod,
        "partly" => Standing::Partly,
        "under_way" => Standing::UnderWay,
        "unknown" => Standing::Unknown,
        _ => Standing::Waiting,
    }
}

async fn held(conn: &mut PgConnection, month: NaiveDate) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"
        -- report: accounts held over a month's invoices
        select count(distinct account_id) as "held!"
        from billing.hold
        join billing.invoice using (account_id)
        where released_at is null and month = $1 and state = 'finalized'
        "#,
        month,
    )
    .fetch_one(conn)
    .await
}

async fn notices(conn: &mut PgConnection, month: NaiveDate) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"
        -- report: notices about a month's invoices
        select count(*) as "notices!"
        from billing.notice
        join billing.invoice using (invoice_id)
        where month = $1 and notice.state = 'sent'
        "#,
        month,
    )
    .fetch_one(conn)
    .await
}

/// The invoices of a month, by number.
pub(super) fn invoices(
    pool: &PgPool,
    month: NaiveDate,
) -> impl Stream<Item = Result<Entry, ReportError>> + Send {
    sqlx::query!(
        r#"
        -- report: invoices of a month
        select series, number, external_id, customer_name, invoice.currency, total_minor,
            settled_minor, invoice.state, lines, last.state as "payment?", last.decline_code,
            exists (
                select from billing.hold
                where hold.account_id = invoice.account_id and released_at is null
            ) as "is_held!"
        from billing.invoice
        left join lateral (
            select payment.state, decline_code from billing.payment
            where payment.invoice_id = invoice.invoice_id
            order by attempt desc
            limit 1
        ) as last on true
        where month = $1
        order by series, number
        "#,
        month,
    )
    .fetch(pool)
    .map(|row| {
        let row = row?;
        let currency = Currency::parse(&row.currency)?;
        Ok(Entry {
            external_id: row.external_id,
            name: row.customer_name,
            outcome: Outcome::Invoice {
                number: written_number(&row.series, row.number),
                total: Money::new(row.total_minor, currency),
                settled: Money::new(row.settled_minor, currency),
                payment: row.payment.map(|state| match row.decline_code {
                    Some(code) => format!("{state}: {code}"),
                    None => state,
                }),
                is_held: row.is_held,
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
