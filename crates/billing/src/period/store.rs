//! SQL of periods.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use outbox::UnitOfWork;
use outbox::copy::{Rows, Target};
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

/// Shares the lock of the accounts, in order, and tells which of them exist. FOR KEY SHARE keeps
/// out whoever locks them FOR UPDATE, such as a close, and nobody else.
pub(super) async fn share(
    connection: &mut PgConnection,
    ids: &BTreeSet<AccountId>,
) -> Result<BTreeSet<AccountId>, sqlx::Error> {
    let ids: Vec<Uuid> = ids.iter().copied().map(Uuid::from).collect();
    let standing = sqlx::query_scalar!(
        r#"
        -- period: share the accounts
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
        select last.account_id, seq, month, start_at, end_at, zone
        from unnest($1::uuid[]) as wanted (account_id)
        cross join lateral (
            select account_id, seq, month, start_at, end_at, zone
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
            zone: row.zone.parse().map_err(unreadable)?,
        };
        chains
            .entry(last.account_id)
            .and_modify(|chain| chain.last = Some(last));
    }
    Ok(())
}

const PERIODS: Target = Target {
    table: "billing.period",
    columns: &["account_id", "seq", "month", "start_at", "end_at", "zone"],
};

pub(super) async fn insert(tx: &mut UnitOfWork, periods: &[Period]) -> Result<(), sqlx::Error> {
    let mut rows = Rows::new(PERIODS);
    for period in periods {
        rows.row()
            .put(Uuid::from(period.account_id))
            .put(period.seq)
            .put(period.month)
            .put(period.start_at)
            .put(period.end_at)
            .put(period.zone.name());
    }
    tx.copy(rows).await?;
    Ok(())
}

fn unreadable(err: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(err))
}
