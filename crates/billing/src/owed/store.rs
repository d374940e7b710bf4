//! The statements of what is owed.

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::ids::{AccountId, InvoiceId};
use crate::money::Money;

pub(super) struct Row {
    pub(super) invoice_id: Uuid,
    pub(super) account_id: Uuid,
    pub(super) series: String,
    pub(super) number: i64,
    pub(super) month: NaiveDate,
    pub(super) currency: String,
    pub(super) total_minor: i64,
    pub(super) settled_minor: i64,
    pub(super) state: String,
}

fn uuids(ids: &[InvoiceId]) -> Vec<Uuid> {
    ids.iter().map(|id| Uuid::from(*id)).collect()
}

pub(super) async fn accounts(
    tx: &mut PgConnection,
    invoices: &[InvoiceId],
) -> Result<Vec<AccountId>, sqlx::Error> {
    let ids = sqlx::query_scalar!(
        "
        -- invoice: whose
        select account_id from billing.invoice where invoice_id = any ($1)
        ",
        &uuids(invoices),
    )
    .fetch_all(tx)
    .await?;
    Ok(ids.into_iter().map(AccountId::from).collect())
}

pub(super) async fn rows(
    tx: &mut PgConnection,
    invoices: &[InvoiceId],
) -> Result<Vec<Row>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        "
        -- invoice: what is owed
        select invoice_id, account_id, series, number, month, currency, total_minor,
            settled_minor, state
        from billing.invoice
        where invoice_id = any ($1)
        ",
        &uuids(invoices),
    )
    .fetch_all(tx)
    .await
}

pub(super) async fn open_of(
    tx: &mut PgConnection,
    account: AccountId,
) -> Result<Vec<InvoiceId>, sqlx::Error> {
    let ids = sqlx::query_scalar!(
        "
        -- invoice: open ones of an account
        select invoice_id from billing.invoice
        where account_id = $1 and state = 'finalized'
        order by finalized_at, number
        ",
        Uuid::from(account),
    )
    .fetch_all(tx)
    .await?;
    Ok(ids.into_iter().map(InvoiceId::from).collect())
}

/// What is settled, as columns for `unnest`.
#[derive(Default)]
pub(super) struct Settled {
    invoice_id: Vec<Uuid>,
    amount_minor: Vec<i64>,
    /// The event of those that are paid by it.
    paid_event: Vec<Option<Uuid>>,
}

impl Settled {
    pub(super) fn push(&mut self, invoice: InvoiceId, part: Money, paid_event: Option<Uuid>) {
        self.invoice_id.push(invoice.into());
        self.amount_minor.push(part.minor());
        self.paid_event.push(paid_event);
    }
}

pub(super) async fn settle(
    tx: &mut PgConnection,
    rows: &Settled,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "
        -- invoice: settle
        update billing.invoice
        set settled_minor = settled_minor + part.amount_minor,
            state = case when part.paid_event is null then state else 'paid' end,
            paid_at = case when part.paid_event is null then paid_at else $4::timestamptz end,
            paid_event = part.paid_event,
            paid_xid = case when part.paid_event is null then null else pg_current_xact_id() end
        from unnest($1::uuid[], $2::bigint[], $3::uuid[])
            as part (invoice_id, amount_minor, paid_event)
        where invoice.invoice_id = part.invoice_id
        ",
        &rows.invoice_id,
        &rows.amount_minor,
        &rows.paid_event as &[Option<Uuid>],
        now,
    )
    .execute(tx)
    .await?;
    Ok(())
}
