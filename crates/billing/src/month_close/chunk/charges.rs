//! What the accounts of a chunk are charged for: sums of usage and subscriptions.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::PgConnection;
use uuid::Uuid;

use super::store::{PeriodKey, Periods};
use crate::invoice::{Held, Sum, Terms};

/// What is charged for a period.
#[derive(Debug, Default)]
pub(super) struct Charges {
    pub(super) sums: Vec<Sum>,
    pub(super) held: Vec<Held>,
    /// A price that is named and does not exist: no foreign key keeps that from happening.
    pub(super) missing: Option<Uuid>,
}

/// The charges of locked periods, final because whoever adds to them needs the account's lock.
/// A period without any is not among them.
pub(super) async fn read(
    tx: &mut PgConnection,
    periods: &Periods,
) -> Result<HashMap<PeriodKey, Charges>, sqlx::Error> {
    let sums = sums(tx, periods).await?;
    let held = held(tx, periods).await?;
    let prices = sums.iter().map(|row| row.price_id);
    let prices = prices.chain(held.iter().map(|row| row.price_id));
    let terms = terms(tx, prices.collect()).await?;
    let mut charges: HashMap<PeriodKey, Charges> = HashMap::with_capacity(periods.seq.len());
    for row in sums {
        let of = charges.entry((row.account_id.into(), row.period_seq));
        let of = of.or_default();
        let Some(terms) = terms.get(&row.price_id).cloned() else {
            of.missing = Some(row.price_id);
            continue;
        };
        of.sums.push(Sum {
            terms,
            usage_month: row.usage_month,
            quantity: row.quantity,
            amount: row.amount,
            events: row.events,
            digest: row.digest,
        });
    }
    for row in held {
        let of = charges.entry((row.account_id.into(), row.period_seq));
        let of = of.or_default();
        let Some(terms) = terms.get(&row.price_id).cloned() else {
            of.missing = Some(row.price_id);
            continue;
        };
        of.held.push(Held {
            terms,
            subscription: row.subscription_id.into(),
            name: row.external_id,
            quantity: row.quantity,
            start_at: row.start_at,
            end_at: row.end_at,
        });
    }
    Ok(charges)
}

struct SumRow {
    account_id: Uuid,
    period_seq: i32,
    price_id: Uuid,
    usage_month: chrono::NaiveDate,
    quantity: String,
    amount: String,
    events: i64,
    digest: i64,
}

async fn sums(tx: &mut PgConnection, periods: &Periods) -> Result<Vec<SumRow>, sqlx::Error> {
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

struct HeldRow {
    account_id: Uuid,
    period_seq: i32,
    subscription_id: Uuid,
    external_id: String,
    price_id: Uuid,
    quantity: String,
    start_at: chrono::DateTime<chrono::Utc>,
    end_at: Option<chrono::DateTime<chrono::Utc>>,
}

/// Those to come too: as long as there are any, a next period is opened.
async fn held(tx: &mut PgConnection, periods: &Periods) -> Result<Vec<HeldRow>, sqlx::Error> {
    sqlx::query_as!(
        HeldRow,
        r#"
        -- month_close: read the subscriptions of a chunk
        select subscription.account_id, period.seq as period_seq, subscription_id, external_id, price_id,
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

async fn terms(
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
