//! The statements that count a month.

use chrono::NaiveDate;
use sqlx::PgConnection;

use super::{ByAccount, Figures, FiguresError};
use crate::money::{Currency, Money};

pub(super) async fn figures(
    conn: &mut PgConnection,
    month: NaiveDate,
) -> Result<Figures, FiguresError> {
    let mut figures = periods(conn, month).await?;
    let rows = sqlx::query!(
        r#"
        -- figures: a month's invoices by currency
        select currency, count(*) as "invoices!",
            count(*) filter (where state = 'paid') as "paid!",
            count(*) filter (where total_minor = 0) as "zero!",
            count(*) filter (where state = 'finalized') as "open!",
            sum(lines) as "lines!", sum(total_minor)::bigint as "invoiced!"
        from billing.invoice
        where month = $1 and state <> 'void'
        group by currency
        order by currency
        "#,
        month,
    )
    .fetch_all(conn)
    .await?;
    for row in rows {
        figures.invoices += row.invoices.unsigned_abs();
        figures.paid += row.paid.unsigned_abs();
        figures.zero += row.zero.unsigned_abs();
        figures.open += row.open.unsigned_abs();
        figures.lines += row.lines.unsigned_abs();
        figures
            .invoiced
            .push(Money::new(row.invoiced, Currency::parse(&row.currency)?));
    }
    Ok(figures)
}

async fn periods(conn: &mut PgConnection, month: NaiveDate) -> Result<Figures, sqlx::Error> {
    let row = sqlx::query!(
        r#"
        -- figures: a month's periods
        select count(distinct account_id) as "accounts!",
            count(*) filter (where state = 'empty') as "empty!",
            (select count(*) from billing.close_exception where month = $1) as "exceptions!"
        from billing.period
        where month = $1
        "#,
        month,
    )
    .fetch_one(conn)
    .await?;
    Ok(Figures {
        accounts: row.accounts.unsigned_abs(),
        empty: row.empty.unsigned_abs(),
        exceptions: row.exceptions.unsigned_abs(),
        ..Figures::default()
    })
}

pub(super) async fn by_account(
    conn: &mut PgConnection,
    month: NaiveDate,
) -> Result<ByAccount, FiguresError> {
    let rows = sqlx::query!(
        r#"
        -- figures: a month by account
        select external_id, currency, sum(total_minor)::bigint as "invoiced!"
        from billing.invoice
        where month = $1 and state <> 'void'
        group by external_id, currency
        "#,
        month,
    )
    .fetch_all(conn)
    .await?;
    let mut accounts = ByAccount::new();
    for row in rows {
        let money = Money::new(row.invoiced, Currency::parse(&row.currency)?);
        accounts
            .entry(row.external_id)
            .or_default()
            .insert(row.currency, money);
    }
    Ok(accounts)
}
