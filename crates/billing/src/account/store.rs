//! SQL of accounts.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use outbox::NewEvent;
use sqlx::PgConnection;
use uuid::Uuid;

use super::Account;
use crate::ids::AccountId;
use crate::money::Currency;

pub(super) async fn find(
    connection: &mut PgConnection,
    external_ids: &[&str],
) -> Result<Vec<Account>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"
        -- account: find by external ids
        select account_id, external_id, name, currency, zone
        from billing.account
        where external_id = any($1)
        order by external_id
        "#,
        external_ids as &[&str],
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Account {
                account_id: AccountId::from(row.account_id),
                external_id: row.external_id,
                name: row.name,
                currency: Currency::parse(&row.currency).map_err(unreadable)?,
                zone: row.zone.parse().map_err(unreadable)?,
            })
        })
        .collect()
}

/// Inserts those that nobody else has inserted; tells which.
pub(super) async fn insert(
    connection: &mut PgConnection,
    accounts: &[(Account, NewEvent)],
    now: DateTime<Utc>,
) -> Result<HashSet<AccountId>, sqlx::Error> {
    let mut columns: (
        Vec<Uuid>,
        Vec<&str>,
        Vec<&str>,
        Vec<&str>,
        Vec<&str>,
        Vec<Uuid>,
    ) = Default::default();
    for (account, event) in accounts {
        columns.0.push(account.account_id.into());
        columns.1.push(&account.external_id);
        columns.2.push(&account.name);
        columns.3.push(account.currency.code());
        columns.4.push(account.zone.name());
        columns.5.push(event.event_id);
    }
    let inserted = sqlx::query_scalar!(
        r#"
        -- account: create
        insert into billing.account (
            account_id, external_id, name, currency, zone, announced_by, created_at
        )
        select account_id, external_id, name, currency, zone, announced_by, $7
        from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::uuid[])
            with ordinality
            as wanted (account_id, external_id, name, currency, zone, announced_by, nth)
        order by nth
        on conflict (external_id) do nothing
        returning account_id
        "#,
        &columns.0,
        &columns.1 as &[&str],
        &columns.2 as &[&str],
        &columns.3 as &[&str],
        &columns.4 as &[&str],
        &columns.5,
        now,
    )
    .fetch_all(connection)
    .await?;
    Ok(inserted.into_iter().map(AccountId::from).collect())
}

fn unreadable(err: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(err))
}

pub(super) async fn exists_any(pool: &sqlx::PgPool) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"
        -- account: is there any
        select exists (select from billing.account) as "exists!"
        "#
    )
    .fetch_one(pool)
    .await
}
