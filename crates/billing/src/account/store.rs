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
    let columns = Columns::of(accounts);
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
        &columns.account_id,
        &columns.external_id as &[&str],
        &columns.name as &[&str],
        &columns.currency as &[&str],
        &columns.zone as &[&str],
        &columns.announced_by,
        now,
    )
    .fetch_all(connection)
    .await?;
    Ok(inserted.into_iter().map(AccountId::from).collect())
}

#[derive(Default)]
struct Columns<'a> {
    account_id: Vec<Uuid>,
    external_id: Vec<&'a str>,
    name: Vec<&'a str>,
    currency: Vec<&'static str>,
    zone: Vec<&'static str>,
    announced_by: Vec<Uuid>,
}

impl<'a> Columns<'a> {
    fn of(accounts: &'a [(Account, NewEvent)]) -> Self {
        let mut columns = Self::default();
        for (account, event) in accounts {
            columns.account_id.push(account.account_id.into());
            columns.external_id.push(&account.external_id);
            columns.name.push(&account.name);
            columns.currency.push(account.currency.code());
            columns.zone.push(account.zone.name());
            columns.announced_by.push(event.event_id);
        }
        columns
    }
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
