//! The statements of dunning.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Declined, Standing};
use crate::ids::{AccountId, InvoiceId};

pub(super) async fn is_owed(
    tx: &mut PgConnection,
    invoice: InvoiceId,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"
        -- dunning: is the invoice still owed
        select exists (
            select from billing.invoice where invoice_id = $1 and state = 'finalized'
        ) as "owed!"
        "#,
        Uuid::from(invoice),
    )
    .fetch_one(tx)
    .await
}

/// Begins the dunning of an invoice, unless it has begun.
pub(super) async fn open(
    tx: &mut PgConnection,
    declined: Declined,
    policy: &str,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "
        -- dunning: open
        insert into billing.dunning (invoice_id, account_id, policy, rung, state, opened_at)
        values ($1, $2, $3, 0, 'retrying', $4)
        on conflict (invoice_id) do nothing
        ",
        Uuid::from(declined.invoice),
        Uuid::from(declined.account),
        policy,
        now,
    )
    .execute(tx)
    .await?;
    Ok(())
}

pub(super) async fn standing(
    tx: &mut PgConnection,
    invoice: InvoiceId,
    account: AccountId,
) -> Result<Standing, sqlx::Error> {
    let row = sqlx::query!(
        r#"
        -- dunning: how an invoice stands
        select opened_at, rung, exists (
            select from billing.payment
            where account_id = $2 and state in ('sent', 'unknown', 'manual')
        ) as "is_unsure!"
        from billing.dunning
        where invoice_id = $1
        "#,
        Uuid::from(invoice),
        Uuid::from(account),
    )
    .fetch_one(tx)
    .await?;
    Ok(Standing {
        opened_at: row.opened_at,
        retries: usize::try_from(row.rung).unwrap_or(usize::MAX),
        is_unsure: row.is_unsure,
    })
}

/// Notes what comes next, and how many rungs that is up.
pub(super) async fn plan(
    tx: &mut PgConnection,
    invoice: InvoiceId,
    (state, timer): (&str, Option<Uuid>),
    up: i32,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "
        -- dunning: plan
        update billing.dunning set state = $2, timer = $3, rung = rung + $4
        where invoice_id = $1
        ",
        Uuid::from(invoice),
        state,
        timer,
        up,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Ends dunning; answers what was planned.
pub(super) async fn close(
    tx: &mut PgConnection,
    invoices: &[InvoiceId],
    now: DateTime<Utc>,
) -> Result<Vec<Uuid>, sqlx::Error> {
    let ids: Vec<Uuid> = invoices.iter().map(|id| Uuid::from(*id)).collect();
    let planned = sqlx::query_scalar!(
        "
        -- dunning: close
        update billing.dunning set state = 'closed', closed_at = $2
        where invoice_id = any ($1) and state <> 'closed'
        returning timer
        ",
        &ids,
        now,
    )
    .fetch_all(tx)
    .await?;
    Ok(planned.into_iter().flatten().collect())
}
