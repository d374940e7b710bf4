//! The ledger's statements.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::NewTransfer;

/// Transfers as columns, for `unnest`.
#[derive(Default)]
pub(super) struct Rows {
    source_kind: Vec<String>,
    source_id: Vec<Uuid>,
    debit: Vec<String>,
    credit: Vec<String>,
    account_id: Vec<Option<Uuid>>,
    currency: Vec<String>,
    amount_minor: Vec<i64>,
}

impl Rows {
    pub(super) fn push(&mut self, transfer: &NewTransfer) {
        self.source_kind.push(transfer.source_kind.to_owned());
        self.source_id.push(transfer.source_id);
        self.debit.push(transfer.debit.name().to_owned());
        self.credit.push(transfer.credit.name().to_owned());
        self.account_id.push(transfer.account.map(Uuid::from));
        self.currency
            .push(transfer.money.currency().code().to_owned());
        self.amount_minor.push(transfer.money.minor());
    }
}

/// One statement, so that a balance moves by exactly the transfers that this insert made: a
/// transfer that was there before is not in `posted`.
pub(super) async fn post(
    tx: &mut PgConnection,
    rows: &Rows,
    at: DateTime<Utc>,
) -> Result<u64, sqlx::Error> {
    let posted = sqlx::query_scalar!(
        r#"
        -- ledger: post transfers, move balances
        with posted as (
            insert into billing.transfer (
                source_kind, source_id, debit, credit, account_id, currency,
                amount_minor, at
            )
            select source_kind, source_id, debit, credit, account_id, currency,
                amount_minor, $8::timestamptz
            from unnest(
                $1::text[], $2::uuid[], $3::text[], $4::text[], $5::uuid[], $6::text[],
                $7::bigint[]
            ) as new (
                source_kind, source_id, debit, credit, account_id, currency,
                amount_minor
            )
            on conflict (source_kind, source_id) do nothing
            returning debit, credit, account_id, currency, amount_minor
        ),
        moved as (
            select account_id, book, currency, sum(moves * sign)::bigint as amount_minor
            from (
                select account_id, debit as book, currency, amount_minor as moves,
                    case debit when 'receivable' then 1 else -1 end as sign
                from posted
                where debit in ('receivable', 'customer_credit')
                union all
                select account_id, credit, currency, amount_minor,
                    case credit when 'receivable' then -1 else 1 end
                from posted
                where credit in ('receivable', 'customer_credit')
            ) as side
            group by account_id, book, currency
        ),
        balanced as (
            insert into billing.balance (account_id, book, currency, amount_minor)
            select account_id, book, currency, amount_minor
            from moved
            order by account_id, book, currency
            on conflict (account_id, book, currency)
                do update set amount_minor = balance.amount_minor + excluded.amount_minor
        )
        select count(*) as "posted!" from posted
        "#,
        &rows.source_kind,
        &rows.source_id,
        &rows.debit,
        &rows.credit,
        &rows.account_id as &[Option<Uuid>],
        &rows.currency,
        &rows.amount_minor,
        at,
    )
    .fetch_one(tx)
    .await?;
    Ok(posted.unsigned_abs())
}
