//! The statements of subscriptions.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use outbox::UnitOfWork;
use outbox::copy::{Rows, Target};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{NewSubscription, Started};
use crate::ids::{AccountId, PriceId, SubscriptionId};

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

/// The prices that fit their accounts, and whether each is by the hour.
pub(super) async fn fitting_prices(
    tx: &mut PgConnection,
    new: &[NewSubscription],
) -> Result<HashMap<(AccountId, PriceId), bool>, sqlx::Error> {
    let accounts: Vec<Uuid> = new.iter().map(|new| new.account.into()).collect();
    let prices: Vec<Uuid> = new.iter().map(|new| new.price.into()).collect();
    let rows = sqlx::query!(
        r#"
        -- subscription: prices that fit
        select account_id as "account_id!", price_id as "price_id!",
            model = 'hourly_capped' as "is_hourly!"
        from unnest($1::uuid[], $2::uuid[]) as wanted (account_id, price_id)
        join billing.account using (account_id)
        join billing.price using (price_id)
        where account.currency = price.currency and model in ('flat', 'hourly_capped')
        "#,
        &accounts,
        &prices,
    )
    .fetch_all(tx)
    .await?;
    let fitting = rows.into_iter();
    Ok(fitting
        .map(|row| ((row.account_id.into(), row.price_id.into()), row.is_hourly))
        .collect())
}

/// An instant that lies before the end of its account's last closed period, and that end.
pub(super) async fn first_in_closed(
    tx: &mut PgConnection,
    changes: &[(AccountId, DateTime<Utc>)],
) -> Result<Option<(AccountId, DateTime<Utc>, DateTime<Utc>)>, sqlx::Error> {
    let accounts: Vec<Uuid> = changes.iter().map(|(id, _)| (*id).into()).collect();
    let instants: Vec<DateTime<Utc>> = changes.iter().map(|(_, at)| *at).collect();
    let row = sqlx::query!(
        r#"
        -- subscription: what lies in a closed period
        select account_id as "account_id!", at as "at!", max(end_at) as "open_from!"
        from unnest($1::uuid[], $2::timestamptz[]) as change (account_id, at)
        join billing.period using (account_id)
        where state <> 'open' and end_at > at
        group by account_id, at
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

/// False when it ends at that instant already.
pub(super) async fn end(
    tx: &mut PgConnection,
    subscription: SubscriptionId,
    end_at: DateTime<Utc>,
    event: Uuid,
) -> Result<bool, sqlx::Error> {
    let ended = sqlx::query!(
        "
        -- subscription: end
        update billing.subscription
        set end_at = $2, ended_event = $3, ended_xid = pg_current_xact_id()
        where subscription_id = $1 and end_at is distinct from $2
        ",
        Uuid::from(subscription),
        end_at,
        event,
    )
    .execute(tx)
    .await?;
    Ok(ended.rows_affected() == 1)
}

fn uuids(accounts: &[AccountId]) -> Vec<Uuid> {
    accounts.iter().map(|id| Uuid::from(*id)).collect()
}
