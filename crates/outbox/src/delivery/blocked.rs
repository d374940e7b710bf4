//! The mutant [`Mutant::BlockedFlag`]: a delivery behind another is marked as blocked, and whoever
//! ends a delivery takes the marks of its key away, as far as it sees them. Without the mutant
//! nothing here does anything.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::mutant::{self, Mutant};

/// The mark: a time that does not come, ten years in microseconds.
pub(super) const WAIT_US: i64 = 315_360_000_000_000;

/// Takes the marks of a key away.
pub(super) async fn unblock(
    tx: &mut PgConnection,
    consumer: i16,
    key: Uuid,
) -> Result<(), sqlx::Error> {
    if !mutant::is(Mutant::BlockedFlag) {
        return Ok(());
    }
    sqlx::query!(
        "
        -- delivery: unblock a key
        update outbox.delivery
        set next_at = clock_timestamp()
        where consumer = $1 and key = $2 and state = 'retry'
            and next_at > clock_timestamp() + interval '1 year'
        ",
        consumer,
        key,
    )
    .execute(tx)
    .await
    .map(drop)
}
