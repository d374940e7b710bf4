//! The mutant [`Mutant::IdsBeforeLock`]: the first event of a unit of work has the id that was
//! drawn when the unit of work began. Without it nothing here does anything.

use sqlx::PgConnection;

use crate::mutant::{self, Mutant};

/// The transaction's own id comes first: that order is another mutant's.
const BEGIN: &str = "begin isolation level read committed; select pg_current_xact_id(); \
    select set_config('outbox.early', nextval('outbox.event_id')::text, true)";

/// How a unit of work begins.
pub(in crate::append) fn or(right: &'static str) -> &'static str {
    mutant::either(Mutant::IdsBeforeLock, BEGIN, right)
}

/// Gives the first event the id that was drawn early, if one was.
pub(super) async fn give(tx: &mut PgConnection) -> Result<(), sqlx::Error> {
    if !mutant::is(Mutant::IdsBeforeLock) {
        return Ok(());
    }
    sqlx::query!(
        "
        -- outbox: give the first event the id that was drawn early
        update outbox.event
        set id = current_setting('outbox.early', true)::bigint
        where xid = pg_current_xact_id()
            and current_setting('outbox.early', true) <> ''
            and id = (select min(id) from outbox.event where xid = pg_current_xact_id())
        ",
    )
    .execute(tx)
    .await
    .map(drop)
}
