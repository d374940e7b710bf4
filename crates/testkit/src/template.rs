//! Migrated databases that tests' databases are copies of: each is made once.

use std::hash::{DefaultHasher, Hash, Hasher};

use anyhow::{Context as _, Result};
use local_postgres::LocalPostgres;
use sqlx::migrate::Migrator;
use sqlx::postgres::PgPoolOptions;
use sqlx::{PgConnection, PgPool};

use crate::keeper::{drop_database, run};

/// A migrator holds one connection for its turn and works on another.
const CONNECTIONS_MAX: u32 = 4;

/// What a template contains: the name of its set of migrations, and their present state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    set: &'static str,
    fingerprint: u64,
}

impl Template {
    /// `set` names what `fingerprint` is a state of; a template with another fingerprint of the
    /// same set is outdated and dropped.
    pub fn new(set: &'static str, fingerprint: u64) -> Self {
        Self { set, fingerprint }
    }

    /// The state of a set of migrations is the text of them all.
    pub fn of_migrations(set: &'static str, migrators: &[&Migrator]) -> Self {
        let mut hash = DefaultHasher::new();
        for migration in migrators.iter().flat_map(|migrator| migrator.iter()) {
            (migration.version, &migration.checksum).hash(&mut hash);
        }
        Self::new(set, hash.finish())
    }

    fn database(&self) -> String {
        format!("template_{}_{:016x}", self.set, self.fingerprint)
    }

    /// Users and makers of a set's templates exclude each other by this number.
    fn lock(&self) -> i64 {
        let mut hash = DefaultHasher::new();
        self.set.hash(&mut hash);
        hash.finish().cast_signed()
    }

    /// Creates the database `name` as a copy, making the template first if need be.
    pub(crate) async fn copy(
        &self,
        admin: &mut PgConnection,
        postgres: &LocalPostgres,
        name: &str,
        make: impl AsyncFnOnce(PgPool) -> Result<()>,
    ) -> Result<()> {
        call(admin, "pg_advisory_lock_shared", self.lock()).await?;
        let exists = self.exists(admin).await?;
        if exists {
            self.copy_existing(admin, name).await?;
        }
        call(admin, "pg_advisory_unlock_shared", self.lock()).await?;
        if exists {
            return Ok(());
        }
        call(admin, "pg_advisory_lock", self.lock()).await?;
        // Another test may have made it while we waited for our turn.
        if !self.exists(admin).await? {
            self.make(admin, postgres, make).await?;
        }
        self.copy_existing(admin, name).await?;
        call(admin, "pg_advisory_unlock", self.lock()).await
    }

    /// Through the log: copying the files instead begins and ends with a checkpoint, which writes
    /// what all the other tests have changed, too.
    async fn copy_existing(&self, admin: &mut PgConnection, name: &str) -> Result<()> {
        let template = self.database();
        let sql = format!(r#"create database "{name}" template "{template}" strategy wal_log"#);
        run(admin, sql).await
    }

    async fn exists(&self, admin: &mut PgConnection) -> Result<bool> {
        let exists =
            sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
                .bind(self.database())
                .fetch_one(admin);
        Ok(exists.await?)
    }

    /// Under a name of its own until it is complete, so that nobody copies half of it.
    async fn make(
        &self,
        admin: &mut PgConnection,
        postgres: &LocalPostgres,
        make: impl AsyncFnOnce(PgPool) -> Result<()>,
    ) -> Result<()> {
        let draft = format!("making_{}", self.set);
        drop_database(admin, &draft).await?;
        run(admin, format!(r#"create database "{draft}""#)).await?;
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            .connect(&postgres.url_of(&draft))
            .await?;
        let made = make(pool.clone()).await;
        pool.close().await;
        made.with_context(|| format!("could not migrate the template `{}`", self.set))?;
        self.drop_outdated(admin).await?;
        let sql = format!(
            r#"alter database "{draft}" rename to "{}""#,
            self.database()
        );
        run(admin, sql).await
    }

    async fn drop_outdated(&self, admin: &mut PgConnection) -> Result<()> {
        let outdated: Vec<String> = sqlx::query_scalar(
            "-- testkit: outdated templates
            select datname
            from pg_database
            where datname ~ ('^template_' || $1 || '_[0-9a-f]{16}$')",
        )
        .bind(self.set)
        .fetch_all(&mut *admin)
        .await?;
        for name in outdated {
            drop_database(admin, &name).await?;
        }
        Ok(())
    }
}

async fn call(admin: &mut PgConnection, function: &str, key: i64) -> Result<()> {
    run(admin, format!("select {function}({key})")).await
}
