//! A database for one test: migrated, empty, and gone afterwards.

use std::time::Duration;

use anyhow::{Context as _, Result};
use sqlx::PgPool;
use sqlx::migrate::Migrator;
use sqlx::postgres::PgPoolOptions;

use crate::keeper::Keeper;
use crate::template::Template;

/// A test that needs more connections at once than this has lost some.
const CONNECTIONS_MAX: u32 = 10;

/// A test that waits longer than this for a connection has lost one, or deadlocked.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);

/// A fresh database, dropped together with this value.
///
/// It is dropped even if something is still connected to it. The database of a test that was
/// killed is dropped when the next test starts.
#[derive(Debug)]
pub struct TestDb {
    /// Connections to the database, as the role `billing`.
    pub pool: PgPool,
    url: String,
    _keeper: Keeper,
}

impl TestDb {
    /// A database with the engine's schema `outbox` alone.
    ///
    /// # Errors
    /// When Postgres does not start or a migration fails.
    pub async fn engine() -> Result<Self> {
        let template = Template::of_migrations("engine", &[&outbox::MIGRATOR]);
        Self::from_template(template, async |pool| Ok(outbox::migrate(&pool).await?)).await
    }

    /// A database with the product's schemas, `outbox` and `billing`.
    ///
    /// # Errors
    /// When Postgres does not start or a migration fails.
    pub async fn billing() -> Result<Self> {
        let migrators: [&Migrator; 2] = [&outbox::MIGRATOR, &billing::MIGRATOR];
        let template = Template::of_migrations("billing", &migrators);
        Self::from_template(template, async |pool| Ok(billing::migrate(&pool).await?)).await
    }

    /// A database with nothing in it.
    ///
    /// # Errors
    /// When Postgres does not start.
    pub async fn empty() -> Result<Self> {
        Self::from_template(Template::new("empty", 0), async |_| Ok(())).await
    }

    /// A copy of `template`, which `make` makes from an empty database if it does not exist yet.
    ///
    /// # Errors
    /// When Postgres does not start or `make` fails.
    pub async fn from_template(
        template: Template,
        make: impl AsyncFnOnce(PgPool) -> Result<()> + Send + 'static,
    ) -> Result<Self> {
        let (keeper, url) = Keeper::employ(template, make).await?;
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect(&url)
            .await
            .context("could not connect to the test's database")?;
        Ok(Self {
            pool,
            url,
            _keeper: keeper,
        })
    }

    /// The connection URL of the database; it carries the password.
    pub fn url(&self) -> &str {
        &self.url
    }
}
