//! The statements of subscriptions.

use std::collections::{BTreeSet, HashMap, HashSet};

use chrono::{DateTime, Utc};
use outbox::UnitOfWork;
use outbox::copy::{Rows, Target};
use sqlx::PgConnection;
use uuid::Uuid;

use super::Started;
use crate::ids::{AccountId, PriceId, SubscriptionId};
use crate::money::Currency;

/// The names that the subscriptions of accounts have.
pub(super) async fn names(
    tx: &mut PgConnection,
    accounts: &[AccountId],
) -> Result<HashSet<(AccountId, String)>, sqlx::Error> {
    let rows = sqlx::query!(
        "
        -- subscription: names in use
        select account_id, external_id from billing.subscription where account_id = any ($1)
        ",
        &uuids(accounts),
    )
    .fetch_all(tx)
    .await?;
    let names = rows.into_iter();
    Ok(names
        .map(|row| (row.account_id.into(), row.external_id))
        .collect())
}

/// The currencies of accounts.
pub(super) async fn currencies(
    tx: &mut PgConnection,
    accounts: &[AccountId],
) -> Result<HashMap<AccountId, Currency>, sqlx::Error> {
    let rows = sqlx::query!(
        "
        -- subscription: currencies of accounts
        select account_id, currency from billing.account where account_id = any ($1)
        ",
        &uuids(accounts),
    )
    .fetch_all(tx)
    .await?;
    let currencies = rows.into_iter();
    currencies
        .map(|row| Ok((row.account_id.into(), currency(&row.currency)?)))
        .collect()
}

/// A price of subscriptions.
pub(super) struct Priced {
    pub(super) currency: Currency,
    pub(super) is_hourly: bool,
}

/// Those of the prices that are of subscriptions.
pub(super) async fn prices(
    tx: &mut PgConnection,
    prices: BTreeSet<PriceId>,
) -> Result<HashMap<PriceId, Priced>, sqlx::Error> {
    let ids: Vec<Uuid> = prices.into_iter().map(Uuid::from).collect();
    let rows = sqlx::query!(
        r#"
        -- subscription: its prices
        select price_id, currency, model = 'hourly_capped' as "is_hourly!"
        from billing.price
        where price_id = any ($1) and model in ('flat', 'hourly_capped')
        "#,
        &ids,
    )
    .fetch_all(tx)
    .await?;
    let priced = |text: &str, is_hourly| {
        currency(text).map(|currency| Priced {
            currency,
            is_hourly,
        })
    };
    let prices = rows.into_iter();
    prices
        .map(|row| Ok((row.price_id.into(), priced(&row.currency, row.is_hourly)?)))
        .collect()
}

fn currency(text: &str) -> Result<Currency, sqlx::Error> {
    Currency::parse(text).map_err(|err| sqlx::Error::Decode(Box::new(err)))
}

/// An instant from which on its account is not open any more: it lies before the end of the last
/// closed period, or before the first. With the instant from which on it is.
pub(super) async fn first_in_closed(
    tx: &mut PgConnection,
    changes: &[(AccountId, DateTime<Utc>)],
) -> Result<Option<(AccountId, DateTime<Utc>, DateTime<Utc>)>, sqlx::Error> {
    let accounts: Vec<Uuid> = changes.iter().map(|(id, _)| (*id).into()).collect();
    let instants: Vec<DateTime<Utc>> = changes.iter().map(|(_, at)| *at).collect();
    let row = sqlx::query!(
        r#"
        -- subscription: what lies in a closed period
        select account_id as "account_id!", at as "at!", open_from as "open_from!"
        from unnest($1::uuid[], $2::timestamptz[]) as change (account_id, at)
        cross join lateral (
            select greatest(max(end_at) filter (where state <> 'open'), min(start_at)) as open_from
            from billing.period
            where period.account_id = change.account_id
        ) as period
        where open_from > at
        limit 1
        "#,
        &accounts,
        &instants,
    )
    .fetch_optional(tx)
    .await?;
    Ok(row.map(|row| (row.account_id.into(), row.at, row.open_from)))
}

const SUBSCRIPTIONS: Target = Target {
    table: "billing.subscription",
    columns: &[
        "subscription_id",
        "account_id",
        "external_id",
        "price_id",
        "quantity",
        "start_at",
        "end_at",
        "announced_by",
    ],
};

pub(super) async fn insert(
    tx: &mut UnitOfWork,
    started: impl Iterator<Item = &Started>,
) -> Result<(), sqlx::Error> {
    let mut rows = Rows::new(SUBSCRIPTIONS);
    for Started { id, new, event } in started {
        rows.row()
            .put(Uuid::from(*id))
            .put(Uuid::from(new.account))
            .put(&new.external_id)
            .put(Uuid::from(new.price))
            .put(new.quantity)
            .put(new.start_at)
            .put(new.end_at)
            .put(event.event_id);
    }
    tx.copy(rows).await?;
    Ok(())
}

/// A subscription as it stands.
pub(super) struct Standing {
    pub(super) external_id: String,
    pub(super) start_at: DateTime<Utc>,
    pub(super) end_at: Option<DateTime<Utc>>,
}

pub(super) async fn standing(
    tx: &mut PgConnection,
    account: AccountId,
    subscription: SubscriptionId,
) -> Result<Option<Standing>, sqlx::Error> {
    sqlx::query_as!(
        Standing,
        "
        -- subscription: as it stands
        select external_id, start_at, end_at
        from billing.subscription
        where account_id = $1 and subscription_id = $2
        ",
        Uuid::from(account),
        Uuid::from(subscription),
    )
    .fetch_optional(tx)
    .await
}

pub(super) async fn end(
    tx: &mut PgConnection,
    subscription: SubscriptionId,
    end_at: DateTime<Utc>,
    event: Uuid,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "
        -- subscription: end
        update billing.subscription
        set end_at = $2, ended_event = $3, ended_xid = pg_current_xact_id()
        where subscription_id = $1
        ",
        Uuid::from(subscription),
        end_at,
        event,
    )
    .execute(tx)
    .await?;
    Ok(())
}

fn uuids(accounts: &[AccountId]) -> Vec<Uuid> {
    accounts.iter().map(|id| Uuid::from(*id)).collect()
}
