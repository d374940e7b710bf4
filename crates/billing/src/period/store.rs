//! SQL of periods.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{AccountMonth, Chain, Period};
use crate::ids::AccountId;

/// The lowest open period at or after each month.
///
/// Month and state are kept from being index conditions: where the table grew since it was
/// analyzed, as in an import, the planner takes the index by month and reads all of it per account.
pub(super) async fn find_open(
    connection: &mut PgConnection,
    wanted: &BTreeSet<AccountMonth>,
) -> Result<BTreeMap<AccountMonth, i32>, sqlx::Error> {
    let (ids, months): (Vec<Uuid>, Vec<NaiveDate>) = wanted
        .iter()
        .map(|(account_id, month)| (Uuid::from(*account_id), *month))
        .unzip();
    let rows = sqlx::query!(
        r#"
        -- period: find open
        select
            wanted.account_id as "account_id!", wanted.month as "month!", open.seq
        from unnest($1::uuid[], $2::date[]) as wanted (account_id, month)
        cross join lateral (
            select seq
            from billing.period
            where account_id = wanted.account_id
                and (month >= wanted.month and state = 'open') is true
            order by seq
            limit 1
        ) as open
        "#,
        &ids,
        &months,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| ((row.account_id.into(), row.month), row.seq))
        .collect())
}

/// Locks the accounts as a foreign key to them does, in order, and tells which of them exist.
pub(super) async fn hold_accounts(
    connection: &mut PgConnection,
    ids: &BTreeSet<AccountId>,
) -> Result<BTreeSet<AccountId>, sqlx::Error> {
    let ids: Vec<Uuid> = ids.iter().copied().map(Uuid::from).collect();
    let standing = sqlx::query_scalar!(
        r#"
        -- period: hold the accounts
        select account_id
        from billing.account
        where account_id = any($1)
        order by account_id
        for key share
        "#,
        &ids,
    )
    .fetch_all(connection)
    .await?;
    Ok(standing.into_iter().map(AccountId::from).collect())
}

/// Locks the periods FOR SHARE, in order, and tells which of them are open under the lock. They are
/// found by their key alone, for the same reason as above.
pub(super) async fn hold_open(
    connection: &mut PgConnection,
    periods: &BTreeSet<(AccountId, i32)>,
) -> Result<BTreeSet<(AccountId, i32)>, sqlx::Error> {
    let (ids, seqs): (Vec<Uuid>, Vec<i32>) = periods
        .iter()
        .map(|(account_id, seq)| (Uuid::from(*account_id), *seq))
        .unzip();
    let rows = sqlx::query!(
        r#"
        -- period: hold while usage is added
        select period.account_id, period.seq, period.state = 'open' as "is_open!"
        from billing.period
        join unnest($1::uuid[], $2::int[]) as found (account_id, seq)
            on found.account_id = period.account_id
            and found.seq = period.seq
        order by period.account_id, period.seq
        for share of period
        "#,
        &ids,
        &seqs,
    )
    .fetch_all(connection)
    .await?;
    let open = rows.into_iter().filter(|row| row.is_open);
    Ok(open.map(|row| (row.account_id.into(), row.seq)).collect())
}

/// Keeps others from creating periods of these accounts.
pub(super) async fn lock_accounts(
    connection: &mut PgConnection,
    ids: &BTreeSet<AccountId>,
) -> Result<BTreeMap<AccountId, Chain>, sqlx::Error> {
    let ids: Vec<Uuid> = ids.iter().copied().map(Uuid::from).collect();
    let rows = sqlx::query!(
        r#"
        -- period: lock the accounts that get new ones
        select account_id, zone
        from billing.account
        where account_id = any($1)
        order by account_id
        for no key update
        "#,
        &ids,
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|row| {
            let zone = row.zone.parse().map_err(unreadable)?;
            let account_id = AccountId::from(row.account_id);
            Ok((account_id, Chain::new(account_id, zone)))
        })
        .collect()
}

/// Completes the chains with the last period of each account.
pub(super) async fn read_last(
    connection: &mut PgConnection,
    chains: &mut BTreeMap<AccountId, Chain>,
) -> Result<(), sqlx::Error> {
    let ids: Vec<Uuid> = chains.keys().copied().map(Uuid::from).collect();
    let rows = sqlx::query!(
        r#"
        -- period: read the last of each account
        select last.account_id, seq, month, start_at, end_at, prev_end_at, zone
        from unnest($1::uuid[]) as wanted (account_id)
        cross join lateral (
            select account_id, seq, month, start_at, end_at, prev_end_at, zone
            from billing.period
            where account_id = wanted.account_id
            order by seq desc
            limit 1
        ) as last
        "#,
        &ids,
    )
    .fetch_all(connection)
    .await?;
    for row in rows {
        let last = Period {
            account_id: row.account_id.into(),
            seq: row.seq,
            month: row.month,
            start_at: row.start_at,
            end_at: row.end_at,
            prev_end_at: row.prev_end_at,
            zone: row.zone.parse().map_err(unreadable)?,
        };
        chains
            .entry(last.account_id)
            .and_modify(|chain| chain.last = Some(last));
    }
    Ok(())
}

pub(super) async fn insert(
    connection: &mut PgConnection,
    periods: &[Period],
) -> Result<(), sqlx::Error> {
    let ids: Vec<Uuid> = periods
        .iter()
        .map(|period| period.account_id.into())
        .collect();
    let seqs: Vec<i32> = periods.iter().map(|period| period.seq).collect();
    let months: Vec<NaiveDate> = periods.iter().map(|period| period.month).collect();
    let starts: Vec<DateTime<Utc>> = periods.iter().map(|period| period.start_at).collect();
    let ends: Vec<DateTime<Utc>> = periods.iter().map(|period| period.end_at).collect();
    let before: Vec<Option<DateTime<Utc>>> =
        periods.iter().map(|period| period.prev_end_at).collect();
    let zones: Vec<&str> = periods.iter().map(|period| period.zone.name()).collect();
    sqlx::query!(
        r#"
        -- period: create
        insert into billing.period (account_id, seq, month, start_at, end_at, prev_end_at, zone)
        select account_id, seq, month, start_at, end_at, prev_end_at, zone
        from unnest(
            $1::uuid[], $2::int[], $3::date[], $4::timestamptz[], $5::timestamptz[],
            $6::timestamptz[], $7::text[]
        ) as new (account_id, seq, month, start_at, end_at, prev_end_at, zone)
        "#,
        &ids,
        &seqs,
        &months,
        &starts,
        &ends,
        &before as &[Option<DateTime<Utc>>],
        &zones as &[&str],
    )
    .execute(connection)
    .await?;
    Ok(())
}

fn unreadable(err: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(err))
}
