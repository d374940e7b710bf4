//! The statements of webhooks.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::ids::PaymentId;

/// The payment, if this gateway was to be asked for it.
pub(in crate::payment) async fn of_gateway(
    tx: &mut PgConnection,
    payment: PaymentId,
    gateway: &str,
) -> Result<Option<PaymentId>, sqlx::Error> {
    let found = sqlx::query_scalar!(
        "
        -- payment: of a gateway
        select payment_id from billing.payment where payment_id = $1 and gateway = $2
        ",
        Uuid::from(payment),
        gateway,
    )
    .fetch_optional(tx)
    .await?;
    Ok(found.map(PaymentId::from))
}

/// Keeps a webhook; false when it was kept before.
pub(in crate::payment) async fn keep(
    tx: &mut PgConnection,
    (gateway, webhook_id): (&str, &str),
    body: &[u8],
    (payment, outcome): (Option<PaymentId>, &str),
) -> Result<bool, sqlx::Error> {
    let kept = sqlx::query!(
        "
        -- payment: keep a webhook
        insert into billing.gateway_webhook (gateway, webhook_id, body, payment_id, outcome)
        values ($1, $2, $3, $4, $5)
        on conflict (gateway, webhook_id) do nothing
        ",
        gateway,
        webhook_id,
        body,
        payment.map(Uuid::from),
        outcome,
    )
    .execute(tx)
    .await?;
    Ok(kept.rows_affected() == 1)
}
