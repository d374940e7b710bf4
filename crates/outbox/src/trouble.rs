//! Which errors are the event's fault, and which the world's.
//!
//! Counting an outage as a failed attempt would turn a restart of the server into dead letters.

/// Whether the same statements may well succeed in a moment: the connection, the server's state, or
/// a lost race. Never the event's fault.
pub(crate) fn is_transient(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            // 08 connection, 25P03 idle transaction ended, 40 rollback (deadlock, serialization),
            // 53 resources (disk full, too many connections), 55P lock not available,
            // 57P operator intervention (shutdown), 58 system (I/O).
            // Not 25P02, a statement after one that failed and was overlooked, and not 57014, a
            // statement that took too long: both happen again, and would hold up a shard for ever.
            ["08", "25P03", "40", "53", "55P", "57P", "58"]
                .iter()
                .any(|class| code.starts_with(class))
        }),
        _ => false,
    }
}

/// Whether a lock was not to be had within the time that the statement was given.
pub(crate) fn is_lock_timeout(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code == "55P03")
}
