//! The end of a close: all that its invoices set off has been handled.
//!
//! Events planned for later, such as the next attempt at a card in three days, do not count.

use chrono::{DateTime, Utc};
use outbox::{Batch, NewBatch, NewEvent, UnitOfWork, failpoint};
use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Run, State, store};
use crate::ids::RunId;

/// Opens the batch of a running close that has none, to be told when these consumers have handled
/// all of it. The run is locked.
pub(super) async fn watch(
    tx: &mut UnitOfWork,
    run: Run,
    readers: &[&str],
) -> Result<Run, sqlx::Error> {
    if run.state == State::Closed || run.batch.is_some() || readers.is_empty() {
        return Ok(run);
    }
    let month = run.month.format("%Y-%m").to_string();
    let settled = |is_whole: bool| {
        let payload = json!({
            "run_id": run.id,
            "month": month,
            "as_of": run.as_of,
            "is_whole": is_whole,
        });
        NewEvent::new("month_close.settled", 1, payload)
    };
    let batch = NewBatch::named(format!("month close {month}"))
        .until_handled_by(readers)
        .on_success(settled(true))
        .on_failure(settled(false));
    // A close may end while another process retries what was listed as an exception.
    let batch = tx.open_batch(batch).await?.even_sealed();
    store::watch(tx, run.id, batch.id()).await?;
    Ok(Run {
        batch: Some(batch),
        ..run
    })
}

/// Whether a close still waits to be settled by this batch: it was not opened again since. Locks
/// it.
///
/// # Errors
/// The database's.
pub async fn is_settling(
    tx: &mut PgConnection,
    run: RunId,
    batch: Uuid,
) -> Result<bool, sqlx::Error> {
    store::is_settling(tx, run, batch).await
}

/// Notes that a close is settled, unless it was opened again since.
///
/// # Errors
/// The database's.
pub async fn note_settled(
    tx: &mut PgConnection,
    run: RunId,
    (batch, now): (Uuid, DateTime<Utc>),
) -> Result<(), sqlx::Error> {
    failpoint!("close.settled")?;
    store::note_settled(tx, run, batch, now).await
}

/// The batch of a close that was read.
pub(super) fn batch(batch_id: Option<Uuid>) -> Option<Batch> {
    batch_id.map(|batch_id| Batch::again(batch_id).even_sealed())
}
