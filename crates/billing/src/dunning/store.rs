//! The statements of dunning.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Declined, Plan, Standing};
use crate::ids::{AccountId, InvoiceId};

/// Those of the invoices that are still to be paid.
pub(super) async fn owed(
    tx: &mut PgConnection,
    invoices: &[InvoiceId],
) -> Result<HashSet<InvoiceId>, sqlx::Error> {
    let ids: Vec<Uuid> = invoices.iter().map(|id| Uuid::from(*id)).collect();
    let owed = sqlx::query_scalar!(
        "
        -- dunning: invoices still owed
        select invoice_id from billing.invoice
        where invoice_id = any ($1) and state = 'finalized'
        ",
        &ids,
    )
    .fetch_all(tx)
    .await?;
    Ok(owed.into_iter().map(InvoiceId::from).collect())
}

/// Begins the dunning of invoices, unless it has begun.
pub(super) async fn open(
    tx: &mut PgConnection,
    declined: &[Declined],
    policy: &str,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let invoices: Vec<Uuid> = declined.iter().map(|one| one.invoice.into()).collect();
    let accounts: Vec<Uuid> = declined.iter().map(|one| one.account.into()).collect();
    sqlx::query!(
        "
        -- dunning: open
        insert into billing.dunning (invoice_id, account_id, policy, rung, state, opened_at)
        select invoice_id, account_id, $3, 0, 'retrying', $4
        from unnest($1::uuid[], $2::uuid[]) as new (invoice_id, account_id)
        on conflict (invoice_id) do nothing
        ",
        &invoices,
        &accounts,
        policy,
        now,
    )
    .execute(tx)
    .await?;
    Ok(())
}

pub(super) async fn standings(
    tx: &mut PgConnection,
    whose: &[(InvoiceId, AccountId)],
) -> Result<HashMap<InvoiceId, Standing>, sqlx::Error> {
    let invoices: Vec<Uuid> = whose.iter().map(|(invoice, _)| (*invoice).into()).collect();
    let accounts: Vec<Uuid> = whose.iter().map(|(_, account)| (*account).into()).collect();
    let rows = sqlx::query!(
        r#"
        -- dunning: how invoices stand
        select invoice_id as "invoice_id!", opened_at, rung, exists (
            select from billing.payment
            where payment.account_id = whose.account_id and state in ('sent', 'unknown', 'manual')
        ) as "is_unsure!"
        from unnest($1::uuid[], $2::uuid[]) as whose (invoice_id, account_id)
        join billing.dunning using (invoice_id)
        "#,
        &invoices,
        &accounts,
    )
    .fetch_all(tx)
    .await?;
    let standings = rows.into_iter().map(|row| {
        let standing = Standing {
            opened_at: row.opened_at,
            retries: usize::try_from(row.rung).unwrap_or(usize::MAX),
            is_unsure: row.is_unsure,
        };
        (row.invoice_id.into(), standing)
    });
    Ok(standings.collect())
}

/// What comes next, as columns for `unnest`.
#[derive(Default)]
pub(super) struct Plans {
    invoice_id: Vec<Uuid>,
    state: Vec<&'static str>,
    timer: Vec<Option<Uuid>>,
    up: Vec<i32>,
}

impl Plans {
    pub(super) fn push(&mut self, invoice: InvoiceId, plan: Plan) {
        self.invoice_id.push(invoice.into());
        self.state.push(plan.state);
        self.timer.push(plan.timer);
        self.up.push(plan.up);
    }
}

/// Notes what comes next.
pub(super) async fn plan(tx: &mut PgConnection, plans: &Plans) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "
        -- dunning: plan
        update billing.dunning
        set state = plan.state, timer = plan.timer, rung = rung + plan.up
        from unnest($1::uuid[], $2::text[], $3::uuid[], $4::int[])
            as plan (invoice_id, state, timer, up)
        where dunning.invoice_id = plan.invoice_id
        ",
        &plans.invoice_id,
        &plans.state as &[&str],
        &plans.timer as &[Option<Uuid>],
        &plans.up,
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
