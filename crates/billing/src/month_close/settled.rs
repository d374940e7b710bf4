//! The end of a close: all that its invoices set off has been handled.
//!
//! Events planned for later, such as the next attempt at a card in three days, do not count.

use chrono::{DateTime, Utc};
use outbox::{Batch, NewBatch, NewEvent, UnitOfWork};
use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Run, State};
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
    sqlx::query!(
        "
        -- month_close: watch
        update billing.month_close set batch_id = $2 where run_id = $1
        ",
        Uuid::from(run.id),
        batch.id(),
    )
    .execute(&mut **tx)
    .await?;
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
    sqlx::query_scalar!(
        r#"
        -- month_close: is it to be settled
        select settled_at is null as "is_settling!"
        from billing.month_close
        where run_id = $1 and batch_id = $2 and state = 'closed'
        for no key update
        "#,
        Uuid::from(run),
        batch,
    )
    .fetch_optional(tx)
    .await
    .map(|found| found.unwrap_or(false))
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
    sqlx::query!(
        "
        -- month_close: settled
        update billing.month_close set settled_at = $3
        where run_id = $1 and batch_id = $2 and state = 'closed' and settled_at is null
        ",
        Uuid::from(run),
        batch,
        now,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// The batch of a close that was read.
pub(super) fn batch(batch_id: Option<Uuid>) -> Option<Batch> {
    batch_id.map(|batch_id| Batch::again(batch_id).even_sealed())
}
