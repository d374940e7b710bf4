//! What keeps a site from being opened.

use std::path::PathBuf;

use local_postgres::StartError;
use outbox::GuardError;
use sqlx::migrate::MigrateError;

/// Why a site could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// The URL of the database cannot be read; why.
    #[error(
        "BILLING_DATABASE_URL cannot be read ({0}): it should look like \
         postgres://user:password@host:5432/database"
    )]
    Url(String),
    /// Who only asks makes no new database: its answer would be that all is well.
    #[error(
        "there is no database in {}: name the data folder of the site with --data-dir, or its \
         server with BILLING_DATABASE_URL", .0.display()
    )]
    Absent(PathBuf),
    /// Nor new tables in a database that was named.
    #[error("{0} holds no log yet: is it the right one? `month-close` or `outbox-relay` makes one")]
    Empty(String),
    /// The private server did not start.
    #[error("could not start the private Postgres")]
    Local(#[from] StartError),
    /// No connection.
    #[error("cannot connect to {database}: does the server run, and may this user log in?")]
    Connect {
        /// Which, without the password.
        database: String,
        /// Why.
        source: sqlx::Error,
    },
    /// The schemas could not be brought up to date.
    #[error("could not migrate {database}; run again once this is mended")]
    Migrate {
        /// Which, without the password.
        database: String,
        /// Why.
        source: MigrateError,
    },
    /// Another version of the program made the schemas.
    #[error(
        "{database} was made by another version of this program: migration {migration} of the \
         schema `{schema}` {differs}. Run the version that migrated it last, restore a backup of \
         this version's, or use another database"
    )]
    OtherVersion {
        /// Which, without the password.
        database: String,
        /// The schema with the migration.
        schema: &'static str,
        /// Its number.
        migration: i64,
        /// How it differs from ours.
        differs: &'static str,
    },
    /// The server cannot keep the promises.
    #[error("{database} must not be used")]
    Unsafe {
        /// Which, without the password.
        database: String,
        /// Why.
        source: GuardError,
    },
}

impl SiteError {
    /// Whether the caller said something that cannot be read, as opposed to trouble on the way.
    #[must_use]
    pub fn is_bad_input(&self) -> bool {
        matches!(self, Self::Url(_) | Self::Absent(_) | Self::Empty(_))
    }
}
