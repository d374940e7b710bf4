//! The product's migrations, after the engine's, with bookkeeping of their own.

use sqlx::PgPool;
use sqlx::migrate::{MigrateError, Migrator};

/// The product's migrations. Files without a number, such as the dump `schema.sql`, are not taken.
pub static MIGRATOR: Migrator = sqlx::migrate!("../../migrations");

/// Brings the schemas `outbox` and `billing` up to date. Safe to call from many processes at once.
///
/// # Errors
/// [`MigrateError`]: the database is newer than this program, or a statement failed.
pub async fn migrate(pool: &PgPool) -> Result<(), MigrateError> {
    outbox::migrate(pool).await?;
    outbox::migrate_with(pool, &MIGRATOR, "billing").await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_migration_has_a_number_of_its_own() {
        let numbers: Vec<i64> = MIGRATOR.iter().map(|migration| migration.version).collect();

        assert_eq!(numbers.first(), Some(&1));
        assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    }
}
