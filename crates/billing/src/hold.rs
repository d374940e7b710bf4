//! Holds: why an account gets no service.
//!
//! An account is held while any of its holds is open. Each has one reason and is open at most once
//! per reason; payments open and close only `delinquent`, so that a dispute or a person's hold is
//! never lifted by money.
//!
//! Owns `billing.hold`. Emits `hold.placed`, `hold.released`.

mod store;

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use outbox::{Locked, NewEvent, UnitOfWork};
use serde::Serialize;
use serde_json::json;
use sqlx::PgConnection;

use crate::ids::{AccountId, HoldId};

/// Why an account is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It owes money that could not be collected.
    Delinquent,
    /// A charge is disputed: nothing is charged meanwhile.
    Dispute,
    /// Somebody misuses it.
    Fraud,
    /// A person decided.
    Manual,
}

impl Reason {
    /// Its name in tables and events.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Delinquent => "delinquent",
            Self::Dispute => "dispute",
            Self::Fraud => "fraud",
            Self::Manual => "manual",
        }
    }
}

/// An open hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hold {
    /// Its id.
    pub hold_id: HoldId,
    /// Why: a [`Reason`]'s name.
    pub reason: String,
    /// What led to it.
    pub cause: String,
    /// Since when.
    pub placed_at: DateTime<Utc>,
}

/// The open holds of an account, oldest first: it is held if there is one.
///
/// # Errors
/// The database's.
pub async fn open_of(
    connection: &mut PgConnection,
    account: AccountId,
) -> Result<Vec<Hold>, sqlx::Error> {
    let mut holds = store::open_of_all(connection, &[account]).await?;
    Ok(holds.remove(&account).unwrap_or_default())
}

/// The open holds of accounts, oldest first; those without are missing.
///
/// # Errors
/// The database's.
pub async fn open_of_all(
    connection: &mut PgConnection,
    accounts: &[AccountId],
) -> Result<HashMap<AccountId, Vec<Hold>>, sqlx::Error> {
    store::open_of_all(connection, accounts).await
}

/// Places a hold on a locked account; nothing when it is held for this reason already.
///
/// # Errors
/// The database's.
pub(crate) async fn place(
    tx: &mut UnitOfWork,
    locked: Locked,
    (reason, cause): (Reason, &str),
    now: DateTime<Utc>,
) -> Result<Option<HoldId>, sqlx::Error> {
    let hold = HoldId::new();
    let payload = json!({
        "hold_id": hold,
        "account_id": locked.key(),
        "reason": reason.name(),
        "cause": cause,
    });
    let event = NewEvent::new("hold.placed", 1, payload);
    if !store::place(
        tx,
        hold,
        locked.key(),
        (reason, cause),
        (event.event_id, now),
    )
    .await?
    {
        return Ok(None);
    }
    tx.append(locked, event);
    Ok(Some(hold))
}

/// Releases the delinquent holds of those locked accounts that have no unpaid invoice left in
/// dunning. Called in the transaction that cleared the debt.
///
/// # Errors
/// The database's.
pub(crate) async fn release_cleared(
    tx: &mut UnitOfWork,
    locks: &HashMap<AccountId, Locked>,
    cause: &str,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let accounts: Vec<AccountId> = locks.keys().copied().collect();
    for (account, hold) in store::cleared(tx, &accounts).await? {
        let Some(locked) = locks.get(&account) else {
            continue;
        };
        let payload = json!({
            "hold_id": hold,
            "account_id": account,
            "reason": Reason::Delinquent.name(),
            "cause": cause,
        });
        let event = NewEvent::new("hold.released", 1, payload);
        store::release(tx, hold, cause, (event.event_id, now)).await?;
        tx.append(*locked, event);
    }
    Ok(())
}
