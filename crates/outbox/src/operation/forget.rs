//! Forgetting a stream: nothing is kept for it any more.

use sqlx::PgPool;

use super::{By, OperationError};

/// Forgets a stream that no relay fills any more, as after a switch back to Postgres: retention
/// keeps nothing for it. A relay that does fill it notes it again with its next event.
///
/// # Errors
/// [`OperationError`] says why not.
pub async fn forget_stream(pool: &PgPool, stream: &str, by: &By) -> Result<(), OperationError> {
    by.refuse_unsigned()?;
    let forgotten = sqlx::query!(
        "
        -- operation: forget a stream
        with forgotten as (
            delete from outbox.stream where stream = $1 returning stream
        )
        insert into outbox.operation (verb, actor, reason, told, changed)
        select 'forget', $2, $3, jsonb_build_object('stream', stream), 1 from forgotten
        ",
        stream,
        by.actor,
        by.reason,
    )
    .execute(pool)
    .await?;
    if forgotten.rows_affected() == 1 {
        return Ok(());
    }
    let known = sqlx::query_scalar!(
        "
        -- operation: streams
        select stream from outbox.stream order by stream
        "
    );
    Err(OperationError::UnknownStream {
        name: stream.to_owned(),
        known: known.fetch_all(pool).await?,
    })
}
