//! History: what happened to an account, who did it and why, read from the log of events.
//!
//! Owns nothing. Reads `outbox.event`.

mod store;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::PgPool;
use uuid::Uuid;

use crate::ids::AccountId;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// Its place in the log, to go on from.
    pub id: i64,
    /// The event.
    pub event_id: Uuid,
    /// When, by the database's clock.
    pub at: DateTime<Utc>,
    /// What happened: `invoice.finalized`.
    pub topic: String,
    /// The facts, as they were then.
    pub facts: Value,
    /// Who did it.
    pub actor: String,
    /// Why, in the actor's words.
    pub reason: Option<String>,
    /// The request that asked for it.
    pub request_id: Option<Uuid>,
    /// The event whose handling caused it.
    pub caused_by: Option<Uuid>,
}

/// What happened to an account, oldest first: at most `limit` entries after the entry `after`
/// (0 for the beginning).
///
/// # Errors
/// The database's.
pub async fn of_account(
    pool: &PgPool,
    account: AccountId,
    after: i64,
    limit: u32,
) -> Result<Vec<Entry>, sqlx::Error> {
    store::of_key(pool, account.into(), after, limit).await
}
