//! The statements of reconciliation.

use std::collections::{BTreeMap, HashMap};

use sqlx::PgPool;
use uuid::Uuid;

use super::ReconciliationError;
use crate::gateway::Movement;
use crate::money::{Currency, Money};

/// What our books show for a page of the statement, by reference: what was captured, and below zero
/// what was given back.
pub(super) async fn captured(
    pool: &PgPool,
    gateway: &str,
    page: &[Movement],
) -> Result<HashMap<String, Money>, ReconciliationError> {
    let references = page.iter().map(|movement| &movement.reference);
    let ids: Vec<Uuid> = references.filter_map(|text| text.parse().ok()).collect();
    let rows = sqlx::query!(
        r#"
        -- reconciliation: a page's payments and refunds
        select payment_id as "id!", currency as "currency!", captured_minor as "minor!"
        from billing.payment
        where payment_id = any ($1) and gateway = $2 and state = 'succeeded'
        union all
        select refund_id, refund.currency, -refund.amount_minor
        from billing.refund
        join billing.payment using (payment_id)
        where refund_id = any ($1) and gateway = $2 and refund.state = 'succeeded'
        "#,
        &ids,
        gateway,
    )
    .fetch_all(pool)
    .await?;
    let captured = rows.into_iter().map(|row| {
        let money = Money::new(row.minor, Currency::parse(&row.currency)?);
        Ok((row.id.to_string(), money))
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
        select transfer.currency,
            sum(case debit when 'cash' then 1 else -1 end * transfer.amount_minor)::bigint
                as "minor!"
        from billing.transfer
        left join billing.refund
            on refund_id = source_id and source_kind in ('refund', 'refund_credit')
        join billing.payment on payment.payment_id = coalesce(refund.payment_id, source_id)
        where source_kind in ('payment', 'payment_excess', 'refund', 'refund_credit')
            and 'cash' in (debit, credit) and gateway = $1
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
