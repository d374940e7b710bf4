//! The statements of reconciliation.

use std::collections::{BTreeMap, HashMap};

use sqlx::PgPool;
use uuid::Uuid;

use super::ReconciliationError;
use crate::gateway::Movement;
use crate::money::{Currency, Money};

/// What our books show as captured for a page of the statement, by reference.
pub(super) async fn captured(
    pool: &PgPool,
    gateway: &str,
    page: &[Movement],
) -> Result<HashMap<String, Money>, ReconciliationError> {
    let references = page.iter().map(|movement| &movement.reference);
    let ids: Vec<Uuid> = references.filter_map(|text| text.parse().ok()).collect();
    let rows = sqlx::query!(
        r#"
        -- reconciliation: a page's payments
        select payment_id, currency, captured_minor as "captured!"
        from billing.payment
        where payment_id = any ($1) and gateway = $2 and state = 'succeeded'
        "#,
        &ids,
        gateway,
    )
    .fetch_all(pool)
    .await?;
    let captured = rows.into_iter().map(|row| {
        let money = Money::new(row.captured, Currency::parse(&row.currency)?);
        Ok((row.payment_id.to_string(), money))
    });
    captured.collect()
}

/// What the cash account holds of a gateway.
pub(super) async fn cash(
    pool: &PgPool,
    gateway: &str,
) -> Result<BTreeMap<Currency, Money>, ReconciliationError> {
    let rows = sqlx::query!(
        r#"
        -- reconciliation: the cash account
        select transfer.currency, sum(transfer.amount_minor)::bigint as "minor!"
        from billing.transfer
        join billing.payment on payment_id = source_id
        where source_kind in ('payment', 'payment_excess') and debit = 'cash' and gateway = $1
        group by transfer.currency
        "#,
        gateway,
    )
    .fetch_all(pool)
    .await?;
    let sums = rows.into_iter().map(|row| {
        let currency = Currency::parse(&row.currency)?;
        Ok((currency, Money::new(row.minor, currency)))
    });
    sums.collect()
}
