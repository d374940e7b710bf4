//! SQL of accounts.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use outbox::NewEvent;
use outbox::UnitOfWork;
use outbox::copy::{Rows, Target};
use sqlx::PgConnection;
use uuid::Uuid;

use super::Account;
use crate::ids::AccountId;
use crate::money::Currency;

pub(super) async fn find(
    connection: &mut PgConnection,
    external_ids: &[&str],
) -> Result<Vec<Account>, sqlx::Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        -- account: find by external ids
        select account_id, external_id, name, currency, zone, email
        from billing.account
        where external_id = any($1)
        order by external_id
        "#,
        external_ids as &[&str],
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(Account::try_from).collect()
}

pub(super) async fn by_id(
    connection: &mut PgConnection,
    account_id: AccountId,
) -> Result<Option<Account>, sqlx::Error> {
    let row = sqlx::query_as!(
        Row,
        "
        -- account: by id
        select account_id, external_id, name, currency, zone, email
        from billing.account
        where account_id = $1
        ",
        Uuid::from(account_id),
    )
    .fetch_optional(connection)
    .await?;
    row.map(Account::try_from).transpose()
}

pub(super) async fn list(
    connection: &mut PgConnection,
    after: Option<AccountId>,
    limit: u32,
) -> Result<Vec<Account>, sqlx::Error> {
    // The lowest id of all stands for the beginning: one statement, and the index serves it.
    let after = after.map_or(Uuid::nil(), Uuid::from);
    let rows = sqlx::query_as!(
        Row,
        "
        -- account: list
        select account_id, external_id, name, currency, zone, email
        from billing.account
        where account_id > $1
        order by account_id
        limit $2
        ",
        after,
        i64::from(limit),
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(Account::try_from).collect()
}

struct Row {
    account_id: Uuid,
    external_id: String,
    name: String,
    currency: String,
    zone: String,
    email: Option<String>,
}

impl TryFrom<Row> for Account {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> Result<Self, sqlx::Error> {
        Ok(Self {
            account_id: AccountId::from(row.account_id),
            external_id: row.external_id,
            name: row.name,
            currency: Currency::parse(&row.currency).map_err(unreadable)?,
            zone: row.zone.parse().map_err(unreadable)?,
            email: row.email,
        })
    }
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

const ACCOUNTS: Target = Target {
    table: "billing.account",
    columns: &[
        "account_id",
        "external_id",
        "name",
        "currency",
        "zone",
        "email",
        "created_at",
        "announced_by",
    ],
};

/// Inserts accounts of which none exists.
pub(super) async fn copy(
    tx: &mut UnitOfWork,
    accounts: &[(Account, NewEvent)],
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let mut rows = Rows::new(ACCOUNTS);
    for (account, event) in accounts {
        rows.row()
            .put(Uuid::from(account.account_id))
            .put(&account.external_id)
            .put(&account.name)
            .put(account.currency.code())
            .put(account.zone.name())
            .put(&account.email)
            .put(now)
            .put(event.event_id);
    }
    tx.copy(rows).await?;
    Ok(())
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

pub(super) async fn zones(
    connection: &mut PgConnection,
    accounts: &[AccountId],
) -> Result<HashMap<AccountId, Tz>, sqlx::Error> {
    let ids: Vec<Uuid> = accounts.iter().map(|id| Uuid::from(*id)).collect();
    let rows = sqlx::query!(
        "
        -- account: zones
        select account_id, zone from billing.account where account_id = any ($1)
        ",
        &ids,
    )
    .fetch_all(connection)
    .await?;
    let zones = rows.into_iter();
    zones
        .map(|row| Ok((row.account_id.into(), row.zone.parse().map_err(unreadable)?)))
        .collect()
}

pub(super) async fn lock(
    tx: &mut PgConnection,
    accounts: &[AccountId],
) -> Result<Vec<AccountId>, sqlx::Error> {
    let ids: Vec<Uuid> = accounts.iter().map(|id| Uuid::from(*id)).collect();
    let locked = sqlx::query_scalar!(
        "
        -- account: lock
        select account_id from billing.account
        where account_id = any ($1)
        order by account_id
        for update
        ",
        &ids,
    )
    .fetch_all(tx)
    .await?;
    Ok(locked.into_iter().map(AccountId::from).collect())
}

/// False when it was so already.
pub(super) async fn set_email(
    tx: &mut PgConnection,
    account: AccountId,
    email: Option<&str>,
) -> Result<bool, sqlx::Error> {
    let changed = sqlx::query!(
        "
        -- account: set e-mail
        update billing.account set email = $2
        where account_id = $1 and email is distinct from $2
        ",
        Uuid::from(account),
        email,
    )
    .execute(tx)
    .await?;
    Ok(changed.rows_affected() == 1)
}
