//! The statements that read what a chunk is charged for.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::Periods;
use crate::invoice::Terms;

pub(super) struct SumRow {
    pub(super) account_id: Uuid,
    pub(super) period_seq: i32,
    pub(super) price_id: Uuid,
    pub(super) usage_month: NaiveDate,
    pub(super) quantity: String,
    pub(super) amount: String,
    pub(super) events: i64,
    pub(super) digest: i64,
}

pub(super) async fn sums(
    tx: &mut PgConnection,
    periods: &Periods,
) -> Result<Vec<SumRow>, sqlx::Error> {
    sqlx::query_as!(
        SumRow,
        r#"
        -- month_close: read the sums of a chunk
        select usage_sum.account_id, usage_sum.period_seq, price_id, usage_month,
            trim_scale(quantity)::text as "quantity!", trim_scale(amount)::text as "amount!",
            events, digest
        from unnest($1::uuid[], $2::int[]) as locked (account_id, seq)
        join billing.usage_sum
            on usage_sum.account_id = locked.account_id and usage_sum.period_seq = locked.seq
        "#,
        &periods.account_id,
        &periods.seq,
    )
    .fetch_all(tx)
    .await
}

pub(super) struct HeldRow {
    pub(super) account_id: Uuid,
    pub(super) period_seq: i32,
    pub(super) subscription_id: Uuid,
    pub(super) external_id: String,
    pub(super) price_id: Uuid,
    pub(super) quantity: String,
    pub(super) start_at: DateTime<Utc>,
    pub(super) end_at: Option<DateTime<Utc>>,
}

/// Those to come too: as long as there are any, a next period is opened.
pub(super) async fn held(
    tx: &mut PgConnection,
    periods: &Periods,
) -> Result<Vec<HeldRow>, sqlx::Error> {
    sqlx::query_as!(
        HeldRow,
        r#"
        -- month_close: read the subscriptions of a chunk
        select subscription.account_id, period.seq as period_seq, subscription_id, external_id,
            price_id,
            trim_scale(quantity)::text as "quantity!", subscription.start_at,
            subscription.end_at as "end_at?"
        from unnest($1::uuid[], $2::int[]) as locked (account_id, seq)
        join billing.period using (account_id, seq)
        join billing.subscription
            on subscription.account_id = locked.account_id
            and (subscription.end_at is null or subscription.end_at > period.start_at)
        "#,
        &periods.account_id,
        &periods.seq,
    )
    .fetch_all(tx)
    .await
}

pub(super) async fn terms(
    tx: &mut PgConnection,
    mut prices: Vec<Uuid>,
) -> Result<HashMap<Uuid, Arc<Terms>>, sqlx::Error> {
    prices.sort_unstable();
    prices.dedup();
    let rows = sqlx::query!(
        "
        -- month_close: read the prices of a chunk
        select price_id, code, description, model, currency, unit,
            trim_scale(unit_price)::text as unit_price,
            trim_scale(monthly_price)::text as monthly_price, cap_hours
        from billing.price
        where price_id = any ($1)
        ",
        &prices,
    )
    .fetch_all(tx)
    .await?;
    let terms = rows.into_iter().map(|row| {
        let terms = Terms {
            price: row.price_id.into(),
            code: row.code,
            description: row.description,
            model: row.model,
            currency: row.currency,
            unit: row.unit,
            unit_price: row.unit_price,
            monthly_price: row.monthly_price,
            cap_hours: row.cap_hours,
        };
        (row.price_id, Arc::new(terms))
    });
    Ok(terms.collect())
}
