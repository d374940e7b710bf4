//! The engine's own migrations, with a table of their own beside the product's: two migrators that
//! share one table take each other's rows for missing files.

use sqlx::PgPool;
use sqlx::migrate::{MigrateError, Migrator};

/// The engine's migrations.
pub static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

/// Any fixed number: whoever migrates this database holds this lock.
const LOCK: i64 = 0x6f75_7462_6f78;

/// Brings the schema `outbox` up to date. Safe to call from many processes at once.
///
/// # Errors
/// [`MigrateError`]: the database is newer than this program, or a statement failed.
pub async fn migrate(pool: &PgPool) -> Result<(), MigrateError> {
    migrate_with(pool, &MIGRATOR, "outbox").await
}

/// Applies `migrator` with its bookkeeping in `<schema>.migration`, one process at a time.
///
/// # Errors
/// As [`migrate`].
pub async fn migrate_with(
    pool: &PgPool,
    migrator: &Migrator,
    schema: &'static str,
) -> Result<(), MigrateError> {
    // The lock belongs to a transaction, not to a session: it works through a pooler, and a killed
    // process cannot keep it.
    let mut turn = pool.begin().await?;
    sqlx::query!("select pg_advisory_xact_lock($1)", LOCK)
        .execute(&mut *turn)
        .await?;
    let mut ours = Migrator {
        migrations: migrator.migrations.clone(),
        locking: false,
        table_name: format!("{schema}.migration").into(),
        ..Migrator::DEFAULT
    };
    ours.create_schema(schema);
    ours.run(pool).await?;
    turn.commit().await?;
    Ok(())
}

/// Whether a database holds a log, of whatever version.
///
/// # Errors
/// The database's.
pub async fn is_migrated(pool: &PgPool) -> Result<bool, sqlx::Error> {
    let is_there = sqlx::query_scalar!(
        r#"
        -- migrate: whether there is a log
        select to_regclass('outbox.event') is not null as "is_there!"
        "#
    );
    is_there.fetch_one(pool).await
}
