//! The statements of holds.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Hold, Reason};
use crate::ids::{AccountId, HoldId};

/// The event that tells of a change, and when it happened.
type Said = (Uuid, DateTime<Utc>);

pub(super) async fn open_of_all(
    connection: &mut PgConnection,
    accounts: &[AccountId],
) -> Result<HashMap<AccountId, Vec<Hold>>, sqlx::Error> {
    let ids: Vec<Uuid> = accounts.iter().map(|id| Uuid::from(*id)).collect();
    let rows = sqlx::query!(
        "
        -- hold: open ones
        select account_id, hold_id, reason, cause, placed_at
        from billing.hold
        where account_id = any ($1) and released_at is null
        order by placed_at, hold_id
        ",
        &ids,
    )
    .fetch_all(connection)
    .await?;
    let mut holds: HashMap<AccountId, Vec<Hold>> = HashMap::new();
    for row in rows {
        let hold = Hold {
            hold_id: row.hold_id.into(),
            reason: row.reason,
            cause: row.cause,
            placed_at: row.placed_at,
        };
        holds.entry(row.account_id.into()).or_default().push(hold);
    }
    Ok(holds)
}

/// False when the account is held for this reason already.
pub(super) async fn place(
    tx: &mut PgConnection,
    hold: HoldId,
    account: Uuid,
    (reason, cause): (Reason, &str),
    (event, now): Said,
) -> Result<bool, sqlx::Error> {
    let placed = sqlx::query!(
        "
        -- hold: place
        insert into billing.hold (hold_id, account_id, reason, cause, placed_at, announced_by)
        values ($1, $2, $3, $4, $5, $6)
        on conflict (account_id, reason) where released_at is null do nothing
        ",
        Uuid::from(hold),
        account,
        reason.name(),
        cause,
        now,
        event,
    )
    .execute(tx)
    .await?;
    Ok(placed.rows_affected() == 1)
}

/// The open delinquent holds of accounts whose invoices in dunning are all paid.
pub(super) async fn cleared(
    tx: &mut PgConnection,
    accounts: &[AccountId],
) -> Result<Vec<(AccountId, HoldId)>, sqlx::Error> {
    let ids: Vec<Uuid> = accounts.iter().map(|id| Uuid::from(*id)).collect();
    let rows = sqlx::query!(
        "
        -- hold: those whose debt is cleared
        select account_id, hold_id
        from billing.hold
        where account_id = any ($1) and reason = 'delinquent' and released_at is null
            and not exists (
                select from billing.dunning
                where dunning.account_id = hold.account_id and state <> 'closed'
            )
        order by account_id
        ",
        &ids,
    )
    .fetch_all(tx)
    .await?;
    let holds = rows
        .into_iter()
        .map(|row| (row.account_id.into(), row.hold_id.into()));
    Ok(holds.collect())
}

pub(super) async fn release(
    tx: &mut PgConnection,
    hold: HoldId,
    cause: &str,
    (event, now): Said,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "
        -- hold: release
        update billing.hold
        set released_at = $2, release_cause = $3, released_event = $4,
            released_xid = pg_current_xact_id()
        where hold_id = $1
        ",
        Uuid::from(hold),
        now,
        cause,
        event,
    )
    .execute(tx)
    .await?;
    Ok(())
}
