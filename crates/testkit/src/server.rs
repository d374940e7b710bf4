//! A server of one's own for a measurement: private, with the settings that users have.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use local_postgres::LocalPostgres;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, PgConnection};
use tempfile::TempDir;

/// A server that runs as long as this lives.
#[derive(Debug)]
pub struct Server {
    // In this order: the server stops before its folder goes.
    local: LocalPostgres,
    data_dir: PathBuf,
    folder: TempDir,
}

impl Server {
    /// Starts one in a new folder below `target`.
    ///
    /// # Errors
    /// When the folder cannot be made or the server cannot be started.
    pub fn start(target: &str) -> Result<Self> {
        Self::in_folder(tempfile::tempdir_in(target).context("cannot make a folder for the run")?)
    }

    /// Starts the one that lies in a folder, or makes it.
    pub(crate) fn in_folder(folder: TempDir) -> Result<Self> {
        let data_dir = folder.path().join("billing");
        let local = LocalPostgres::start(&data_dir)?;
        Ok(Self {
            local,
            data_dir,
            folder,
        })
    }

    /// Where a program that joins the server has its data.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// As a program connects.
    #[must_use]
    pub fn url(&self) -> String {
        self.local.url()
    }

    /// The same, to another database.
    #[must_use]
    pub fn url_of(&self, database: &str) -> String {
        self.local.url_of(database)
    }

    /// As the superuser, who may ask for checkpoints.
    ///
    /// # Errors
    /// The server's.
    pub async fn connect(&self) -> Result<PgConnection> {
        let password = fs::read_to_string(self.data_dir.join("postgres-admin.password"))?;
        let options: PgConnectOptions = self.local.url().parse()?;
        let options = options.username("admin").password(password.trim_end());
        options.connect().await.context("cannot connect")
    }

    /// A setting, as `SHOW` words it.
    ///
    /// # Errors
    /// The server's.
    pub async fn setting(&self, name: &str) -> Result<String> {
        let mut connection = self.connect().await?;
        let value = sqlx::query_scalar("select current_setting($1)").bind(name);
        Ok(value.fetch_one(&mut connection).await?)
    }
}
