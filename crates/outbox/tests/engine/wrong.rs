//! Mutants of the schema: ways in which the engine is wrong that no switch in it can bring about.
//! Like its own they are chosen by the variable `OUTBOX_MUTANT`.

use std::time::Duration;

use sqlx::{Connection, PgConnection};

/// A snapshot below the oldest open transaction: what committed above it waits.
const OLDEST_HOLDS_UP: &str = "
    create function shop.pg_current_snapshot() returns pg_snapshot language sql stable as $$
        select format('%1$s:%1$s:', pg_snapshot_xmin(pg_catalog.pg_current_snapshot()))::pg_snapshot
    $$;
    do $$ begin
        execute format('alter database %I set search_path = shop, pg_catalog, public',
            current_database());
    end $$";

/// Defaults are computed in the order of the columns.
const ID_BEFORE_XID: &str = "
    alter table outbox.event
        drop column xid,
        add column xid xid8 not null default pg_current_xact_id();
    create index event_interactive on outbox.event (xid) where lane = 0;
    create index event_bulk on outbox.event (xid) where lane = 1";

/// Each session draws a block of ids.
const IDS_IN_BLOCKS: &str = "alter sequence outbox.event_id cache 20";

/// The mutant of this run, if there is one.
pub(crate) fn chosen() -> Option<String> {
    let chosen = std::env::var("OUTBOX_MUTANT").ok();
    chosen.filter(|_| cfg!(feature = "mutants"))
}

/// Makes the schema of a new database wrong, if the mutant of this run is one of the schema.
pub(crate) async fn schema(url: &str) {
    let wrong = match chosen().as_deref() {
        Some("OldestHoldsUp") => OLDEST_HOLDS_UP,
        Some("IdBeforeXid") => ID_BEFORE_XID,
        Some("IdsInBlocks") => IDS_IN_BLOCKS,
        _ => return,
    };
    let mut conn = PgConnection::connect(url).await.unwrap();
    crate::scene::run(&mut conn, wrong).await;
    conn.close().await.unwrap();
}

/// How long something is waited for. What a mutant breaks does not come at all, and there are many
/// of them.
pub(crate) fn patience(right: Duration) -> Duration {
    match chosen() {
        Some(_) => Duration::from_secs(8),
        None => right,
    }
}
