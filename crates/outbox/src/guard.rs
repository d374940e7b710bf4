//! Start-up guards: a server that could lose an acknowledged commit, or a sequence that hands out
//! ids in blocks, breaks promises that no later check can repair.

use std::collections::BTreeSet;

use sqlx::PgPool;
use sqlx::migrate::{Migrate as _, MigrateError};

use crate::migrate::MIGRATOR;
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
    /// Nothing can be written.
    #[error(
        "the server takes no writes ({0} = on): it is a standby, or was set so. Connect to the \
         primary, or set it back"
    )]
    ReadOnly(String),
    /// An isolation in which statements fail that the engine repeats in none.
    #[error(
        "transactions are {0} here unless told otherwise, and the engine means read committed. \
         Set it back for this user (`alter role … set default_transaction_isolation = \
         'read committed'`)"
    )]
    Isolation(String),
    /// The schema lacks what this program's statements need.
    #[error(
        "migration {0} of the schema `outbox` was not applied: migrate first, as each program of \
         this version does at its start"
    )]
    SchemaTooOld(i64),
    /// The schema was made by a newer program.
    #[error(
        "migration {0} of the schema `outbox` is unknown to this program, which is too old for \
         this database: deploy the version that migrated it"
    )]
    SchemaTooNew(i64),
    /// The migrations that were applied could not be read.
    #[error("could not ask which migrations were applied")]
    Migrations(#[from] MigrateError),
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
    refuse_settings(pool).await?;
    refuse_schema(pool).await?;
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

async fn refuse_settings(pool: &PgPool) -> Result<(), GuardError> {
    let settings = sqlx::query!(
        r#"
        -- guard: settings
        select name as "name!", setting as "value!"
        from pg_settings
        where name in (
            'fsync', 'full_page_writes', 'synchronous_commit', 'server_version_num',
            'in_hot_standby', 'default_transaction_read_only', 'default_transaction_isolation',
            'jit'
        )
        "#
    )
    .fetch_all(pool)
    .await?;
    for setting in settings {
        let (name, value) = (setting.name, setting.value);
        match name.as_str() {
            "server_version_num" if value.parse().unwrap_or(0) < 150_000 => {
                return Err(GuardError::TooOld(value));
            }
            "fsync" | "full_page_writes" | "synchronous_commit" if value == "off" => {
                return Err(GuardError::NotDurable { name, value });
            }
            "in_hot_standby" | "default_transaction_read_only" if value == "on" => {
                return Err(GuardError::ReadOnly(name));
            }
            "default_transaction_isolation" if value != "read committed" => {
                return Err(GuardError::Isolation(value));
            }
            "jit" if value == "on" => tracing::warn!(
                "The server compiles statements (jit = on), which takes longer than the engine's \
                 own need: connect with `options=-c jit=off`"
            ),
            _ => {}
        }
    }
    Ok(())
}

/// A program that is older than the schema would write what newer ones do not expect.
async fn refuse_schema(pool: &PgPool) -> Result<(), GuardError> {
    let mut conn = pool.acquire().await?;
    let applied = conn.list_applied_migrations("outbox.migration").await?;
    let applied: BTreeSet<i64> = applied.iter().map(|migration| migration.version).collect();
    let known: BTreeSet<i64> = MIGRATOR.iter().map(|migration| migration.version).collect();
    if let Some(newer) = applied.difference(&known).next() {
        return Err(GuardError::SchemaTooNew(*newer));
    }
    match known.difference(&applied).next() {
        Some(missing) => Err(GuardError::SchemaTooOld(*missing)),
        None => Ok(()),
    }
}
