//! A house: a server of its own for the databases of sites.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use local_postgres::LocalPostgres;
use sqlx::PgPool;

/// A server, and a migrated database to copy.
pub(crate) struct House {
    local: LocalPostgres,
    pub(crate) data_dir: PathBuf,
}

impl House {
    pub(crate) async fn open(folder: &Path) -> Result<Self> {
        let data_dir = folder.join("house");
        let start = data_dir.clone();
        let local = tokio::task::spawn_blocking(move || LocalPostgres::start(&start)).await??;
        let house = Self {
            local: local.watched(),
            data_dir,
        };
        let pool = PgPool::connect(&house.local.url()).await?;
        billing::migrate(&pool).await?;
        pool.close().await;
        Ok(house)
    }

    /// A database of its own, migrated.
    pub(crate) async fn database(&self, name: &str) -> Result<String> {
        let pool = PgPool::connect(&self.local.url_of("postgres")).await?;
        let create = format!("create database \"{name}\" template billing");
        let created = sqlx::query(sqlx::AssertSqlSafe(create))
            .execute(&pool)
            .await;
        created.context("could not copy the database")?;
        pool.close().await;
        Ok(self.local.url_of(name))
    }
}
