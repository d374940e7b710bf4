//! Start-up guards: a server that could lose an acknowledged commit, or a sequence that hands out
//! ids in blocks, breaks promises that no later check can repair.

use sqlx::PgPool;

use crate::restore::{RestoreError, refuse_foreign_log};

/// Why this database must not be used.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// Older than what the engine's statements need.
    #[error("the server is PostgreSQL {0}; version 15 or newer is needed")]
    TooOld(String),
    /// A setting with which an acknowledged commit can be lost.
    #[error(
        "the server runs with {name} = {value}: an acknowledged commit could be lost. \
         Set it back (`alter system set {name} = on; select pg_reload_conf();`)"
    )]
    NotDurable {
        /// The setting.
        name: String,
        /// Its value.
        value: String,
    },
    /// Ids would be handed out in blocks per session.
    #[error(
        "the sequence outbox.event_id has CACHE {0}, which breaks the order of events. \
         Set it back: `alter sequence outbox.event_id cache 1`"
    )]
    CachedSequence(i64),
    /// The log was written in another cluster.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// The questions could not be asked.
    #[error("could not ask the server for its settings")]
    Database(#[from] sqlx::Error),
}

/// Refuses a server that cannot keep the promises.
///
/// # Errors
/// [`GuardError`] says which setting to change.
pub async fn refuse_unsafe_server(pool: &PgPool) -> Result<(), GuardError> {
    let settings = sqlx::query!(
        r#"
        -- guard: settings
        select name as "name!", setting as "value!"
        from pg_settings
        where name in ('fsync', 'full_page_writes', 'synchronous_commit', 'server_version_num')
        "#
    )
    .fetch_all(pool)
    .await?;
    for setting in settings {
        match setting.name.as_str() {
            "server_version_num" if setting.value.parse().unwrap_or(0) < 150_000 => {
                return Err(GuardError::TooOld(setting.value));
            }
            "fsync" | "full_page_writes" | "synchronous_commit" if setting.value == "off" => {
                return Err(GuardError::NotDurable {
                    name: setting.name,
                    value: setting.value,
                });
            }
            _ => {}
        }
    }
    let cache = sqlx::query_scalar!(
        r#"
        -- guard: cache of the id sequence
        select seqcache as "cache!" from pg_sequence where seqrelid = 'outbox.event_id'::regclass
        "#
    )
    .fetch_one(pool)
    .await?;
    if cache != 1 {
        return Err(GuardError::CachedSequence(cache));
    }
    Ok(refuse_foreign_log(pool).await?)
}
