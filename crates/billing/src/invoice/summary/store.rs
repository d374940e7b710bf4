//! The statements that read invoices.

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::PgPool;
use uuid::Uuid;

use super::{Filter, ListError, Number, Summary};
use crate::ids::InvoiceId;
use crate::money::{Currency, Money};

pub(super) async fn by_id(
    pool: &PgPool,
    invoice_id: InvoiceId,
) -> Result<Option<Summary>, ListError> {
    let row = sqlx::query_as!(
        Row,
        r#"
        -- invoice: by id
        select invoice_id, account_id, series, number, external_id, customer_name, month, state,
            lines, currency, subtotal_minor, tax_minor, total_minor, credit_minor, settled_minor,
            case state when 'finalized' then total_minor - settled_minor else 0 end as "due_minor!",
            finalized_at, paid_at
        from billing.invoice
        where invoice_id = $1
        "#,
        Uuid::from(invoice_id),
    )
    .fetch_optional(pool)
    .await?;
    row.map(Summary::try_from).transpose()
}

pub(super) async fn by_number(
    pool: &PgPool,
    number: &Number,
) -> Result<Option<Summary>, ListError> {
    let row = sqlx::query_as!(
        Row,
        r#"
        -- invoice: by number
        select invoice_id, account_id, series, number, external_id, customer_name, month, state,
            lines, currency, subtotal_minor, tax_minor, total_minor, credit_minor, settled_minor,
            case state when 'finalized' then total_minor - settled_minor else 0 end as "due_minor!",
            finalized_at, paid_at
        from billing.invoice
        where series = $1 and number = $2
        "#,
        number.series,
        number.number,
    )
    .fetch_optional(pool)
    .await?;
    row.map(Summary::try_from).transpose()
}

pub(super) async fn list(
    pool: &PgPool,
    filter: Filter,
    after: Option<&Number>,
    limit: u32,
) -> Result<Vec<Summary>, ListError> {
    // No series is empty, so the empty one stands before the first number.
    let (series, number) = after.map_or(("", 0), |after| (after.series.as_str(), after.number));
    let rows = sqlx::query_as!(
        Row,
        r#"
        -- invoice: list
        select invoice_id, account_id, series, number, external_id, customer_name, month, state,
            lines, currency, subtotal_minor, tax_minor, total_minor, credit_minor, settled_minor,
            case state when 'finalized' then total_minor - settled_minor else 0 end as "due_minor!",
            finalized_at, paid_at
        from billing.invoice
        where (series, number) > ($1, $2)
            and ($3::date is null or month = $3)
            and ($4::uuid is null or account_id = $4)
        order by series, number
        limit $5
        "#,
        series,
        number,
        filter.month,
        filter.account.map(Uuid::from),
        i64::from(limit),
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(Summary::try_from).collect()
}

struct Row {
    invoice_id: Uuid,
    account_id: Uuid,
    series: String,
    number: i64,
    external_id: String,
    customer_name: String,
    month: NaiveDate,
    state: String,
    lines: i32,
    currency: String,
    subtotal_minor: i64,
    tax_minor: i64,
    total_minor: i64,
    credit_minor: i64,
    settled_minor: i64,
    due_minor: i64,
    finalized_at: DateTime<Utc>,
    paid_at: Option<DateTime<Utc>>,
}

impl TryFrom<Row> for Summary {
    type Error = ListError;

    fn try_from(row: Row) -> Result<Self, ListError> {
        let number = Number {
            series: row.series,
            number: row.number,
        };
        let currency = match Currency::parse(&row.currency) {
            Ok(currency) => currency,
            Err(source) => return Err(ListError::Currency { number, source }),
        };
        Ok(Self {
            invoice_id: row.invoice_id.into(),
            number,
            account_id: row.account_id.into(),
            external_id: row.external_id,
            customer_name: row.customer_name,
            month: row.month,
            state: row.state,
            lines: row.lines,
            subtotal: Money::new(row.subtotal_minor, currency),
            tax: Money::new(row.tax_minor, currency),
            total: Money::new(row.total_minor, currency),
            credit: Money::new(row.credit_minor, currency),
            settled: Money::new(row.settled_minor, currency),
            due: Money::new(row.due_minor, currency),
            finalized_at: row.finalized_at,
            paid_at: row.paid_at,
        })
    }
}
