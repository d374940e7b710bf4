//! The statements of a chunk, in the order in which it runs them.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};
use outbox::{Locked, UnitOfWork};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::ids::{AccountId, RunId};
use crate::invoice::{Header, Sum};
use crate::month_close::Run;

/// Waits until nobody holds an account's open periods.
pub(in crate::month_close) async fn wait_for(
    tx: &mut PgConnection,
    month: NaiveDate,
    account: AccountId,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "
        -- month_close: wait for another closer
        select seq
        from billing.account
        join billing.period using (account_id)
        where account_id = $1 and month = $2 and state = 'open'
        for update of account, period
        ",
        Uuid::from(account),
        month,
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
}

/// Locks accounts and their open periods, in the order of accounts; what another transaction holds
/// is left out.
pub(super) async fn lock_open(
    tx: &mut UnitOfWork,
    month: NaiveDate,
    now: DateTime<Utc>,
    accounts: &[AccountId],
) -> Result<Vec<Obligation>, sqlx::Error> {
    let accounts: Vec<Uuid> = accounts.iter().map(|account| (*account).into()).collect();
    let rows = sqlx::query!(
        "
        -- month_close: lock a chunk
        select account.account_id, external_id, name, currency, period.zone, seq, start_at, end_at
        from billing.period
        join billing.account using (account_id)
        where account_id = any ($1) and month = $2 and state = 'open' and end_at <= $3
        order by account_id, seq
        for update of account, period skip locked
        ",
        &accounts,
        month,
        now,
    )
    .fetch_all(&mut **tx)
    .await?;
    let obligations = rows.into_iter().map(|row| Obligation {
        locked: tx.locked(row.account_id),
        header: Header {
            account: row.account_id.into(),
            external_id: row.external_id,
            customer_name: row.name,
            currency: row.currency,
            zone: row.zone,
            period_seq: row.seq,
            month,
            start_at: row.start_at,
            end_at: row.end_at,
        },
    });
    Ok(obligations.collect())
}

/// Which period: account and sequence number.
pub(super) type PeriodKey = (AccountId, i32);

/// Period keys as columns, for `unnest`.
#[derive(Default)]
pub(super) struct Periods {
    account_id: Vec<Uuid>,
    seq: Vec<i32>,
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

/// The sums of locked periods, final because whoever adds to them shares the period's lock.
pub(super) async fn sums(
    tx: &mut PgConnection,
    periods: &Periods,
) -> Result<HashMap<PeriodKey, Vec<Sum>>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"
        -- month_close: read the sums of a chunk
        select usage_sum.account_id, usage_sum.period_seq, price_id, code, description, model,
            currency, trim_scale(unit_price)::text as unit_price, unit, usage_month,
            trim_scale(quantity)::text as "quantity!", trim_scale(amount)::text as "amount!",
            events, digest
        from unnest($1::uuid[], $2::int[]) as locked (account_id, seq)
        join billing.usage_sum
            on usage_sum.account_id = locked.account_id and usage_sum.period_seq = locked.seq
        join billing.price using (price_id)
        "#,
        &periods.account_id,
        &periods.seq,
    )
    .fetch_all(tx)
    .await?;
    let mut sums: HashMap<PeriodKey, Vec<Sum>> = HashMap::with_capacity(periods.seq.len());
    for row in rows {
        sums.entry((row.account_id.into(), row.period_seq))
            .or_default()
            .push(Sum {
                price: row.price_id.into(),
                price_code: row.code,
                description: row.description,
                model: row.model,
                currency: row.currency,
                unit_price: row.unit_price,
                unit: row.unit,
                usage_month: row.usage_month,
                quantity: row.quantity,
                amount: row.amount,
                events: row.events,
                digest: row.digest,
            });
    }
    Ok(sums)
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
