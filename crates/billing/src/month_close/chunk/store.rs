//! The statements of a chunk, in the order in which it runs them.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};
use outbox::{Locked, UnitOfWork};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::ids::{AccountId, RunId};
use crate::invoice::Header;
use crate::month_close::Run;

/// Waits until nobody holds an account.
pub(in crate::month_close) async fn wait_for(
    tx: &mut PgConnection,
    account: AccountId,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "
        -- month_close: wait for another closer
        select account_id from billing.account where account_id = $1 for update
        ",
        Uuid::from(account),
    )
    .fetch_all(tx)
    .await?;
    Ok(())
}

/// Lets the chunk's statements go by index. Their tables are full of what other chunks need, and
/// the statistics are those from before an import or a close: a scan that looks cheap now is made
/// again for every chunk.
pub(super) async fn go_by_index(tx: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(
        "set local enable_seqscan = off;
        set local enable_hashjoin = off;
        set local enable_mergejoin = off",
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// An account's open period under lock.
pub(super) struct Obligation {
    pub(super) locked: Locked,
    pub(super) header: Header,
    /// The account's zone of now; the period's is frozen.
    pub(super) zone: String,
    /// Whether no period of the account follows yet.
    pub(super) is_last: bool,
}

/// Locks accounts in their order, and reads their open periods; what another transaction holds is
/// left out. Nobody adds to a period or closes it without the lock of its account: whoever records
/// usage shares it. The periods are read by a statement of their own, which sees what the last
/// holder of the lock committed. Month and state are kept from being index conditions: without
/// statistics, as after an import, the planner would read all of the month for each chunk.
pub(super) async fn lock_open(
    tx: &mut UnitOfWork,
    month: NaiveDate,
    now: DateTime<Utc>,
    accounts: &[AccountId],
) -> Result<Vec<Obligation>, sqlx::Error> {
    let accounts = lock_accounts(tx, accounts).await?;
    let ids: Vec<Uuid> = accounts.keys().copied().collect();
    let rows = sqlx::query!(
        r#"
        -- month_close: open periods of a chunk
        select account_id, zone, seq, start_at, end_at, not exists (
                select from billing.period as next
                where next.account_id = period.account_id and next.seq = period.seq + 1
            ) as "is_last!"
        from billing.period
        where account_id = any ($1)
            and (month = $2 and state = 'open' and end_at <= $3) is true
        order by account_id, seq
        "#,
        &ids,
        month,
        now,
    )
    .fetch_all(&mut **tx)
    .await?;
    let obligations = rows.into_iter().filter_map(|row| {
        let account = accounts.get(&row.account_id)?;
        Some(Obligation {
            locked: tx.locked(row.account_id),
            zone: account.zone.clone(),
            is_last: row.is_last,
            header: Header {
                account: row.account_id.into(),
                external_id: account.external_id.clone(),
                customer_name: account.name.clone(),
                currency: account.currency.clone(),
                zone: row.zone,
                period_seq: row.seq,
                month,
                start_at: row.start_at,
                end_at: row.end_at,
            },
        })
    });
    Ok(obligations.collect())
}

/// What an invoice freezes of its account.
struct Customer {
    external_id: String,
    name: String,
    currency: String,
    zone: String,
}

async fn lock_accounts(
    tx: &mut UnitOfWork,
    accounts: &[AccountId],
) -> Result<HashMap<Uuid, Customer>, sqlx::Error> {
    let accounts: Vec<Uuid> = accounts.iter().map(|account| (*account).into()).collect();
    let rows = sqlx::query!(
        "
        -- month_close: lock the accounts of a chunk
        select account_id, external_id, name, currency, zone
        from billing.account
        where account_id = any ($1)
        order by account_id
        for update skip locked
        ",
        &accounts,
    )
    .fetch_all(&mut **tx)
    .await?;
    let customers = rows.into_iter().map(|row| {
        let customer = Customer {
            external_id: row.external_id,
            name: row.name,
            currency: row.currency,
            zone: row.zone,
        };
        (row.account_id, customer)
    });
    Ok(customers.collect())
}

/// Which period: account and sequence number.
pub(super) type PeriodKey = (AccountId, i32);

/// Period keys as columns, for `unnest`.
#[derive(Default)]
pub(super) struct Periods {
    pub(super) account_id: Vec<Uuid>,
    pub(super) seq: Vec<i32>,
}

impl FromIterator<PeriodKey> for Periods {
    fn from_iter<T: IntoIterator<Item = PeriodKey>>(keys: T) -> Self {
        let (account_id, seq) = keys
            .into_iter()
            .map(|(id, seq)| (Uuid::from(id), seq))
            .unzip();
        Self { account_id, seq }
    }
}

impl Periods {
    pub(super) fn is_empty(&self) -> bool {
        self.seq.is_empty()
    }
}

/// Moves locked periods on; an exception that was noted of one is over.
pub(super) async fn settle(
    tx: &mut PgConnection,
    run: RunId,
    state: &str,
    periods: &Periods,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "
        -- month_close: settle periods
        with settled as (
            update billing.period set state = $2, run_id = $1
            from unnest($3::uuid[], $4::int[]) as locked (account_id, seq)
            where period.account_id = locked.account_id and period.seq = locked.seq
            returning period.account_id, period.seq
        )
        delete from billing.close_exception
        using settled
        where close_exception.account_id = settled.account_id and period_seq = settled.seq
        ",
        Uuid::from(run),
        state,
        &periods.account_id,
        &periods.seq,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Lists locked periods as exceptions, each with its reason.
pub(super) async fn except(
    tx: &mut PgConnection,
    run: &Run,
    periods: &Periods,
    reasons: &[String],
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "
        -- month_close: note exceptions
        insert into billing.close_exception (account_id, period_seq, month, run_id, reason)
        select account_id, seq, $4, $5, reason
        from unnest($1::uuid[], $2::int[], $3::text[]) as failed (account_id, seq, reason)
        on conflict (account_id, period_seq) do update
            set run_id = excluded.run_id, reason = excluded.reason, noted_at = clock_timestamp()
        ",
        &periods.account_id,
        &periods.seq,
        reasons,
        run.month,
        Uuid::from(run.id),
    )
    .execute(tx)
    .await?;
    Ok(())
}
