//! The cluster of a run: private, with the settings that users have, gone afterwards.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use local_postgres::LocalPostgres;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, PgConnection};
use tempfile::TempDir;

/// A server that runs as long as this lives.
pub(crate) struct Server {
    // In this order: the server stops before its folder goes.
    local: LocalPostgres,
    data_dir: PathBuf,
    _folder: TempDir,
}

/// A moment in the life of a database.
pub(crate) struct Mark {
    /// Transactions from here on came later.
    pub(crate) xid: i64,
    wal: String,
}

impl Server {
    pub(crate) fn start() -> Result<Self> {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))
            .context("cannot make a folder for the run")?;
        let data_dir = folder.path().join("billing");
        let local = LocalPostgres::start(&data_dir)?;
        Ok(Self {
            local,
            data_dir,
            _folder: folder,
        })
    }

    pub(crate) fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// As the program connects.
    pub(crate) fn url(&self) -> String {
        self.local.url()
    }

    /// As the superuser, who may ask for checkpoints.
    pub(crate) async fn connect(&self) -> Result<PgConnection> {
        let password = fs::read_to_string(self.data_dir.join("postgres-admin.password"))?;
        let options: PgConnectOptions = self.local.url().parse()?;
        let options = options.username("admin").password(password.trim_end());
        options.connect().await.context("cannot connect")
    }

    /// A setting, as `SHOW` words it.
    pub(crate) async fn setting(&self, name: &str) -> Result<String> {
        let mut connection = self.connect().await?;
        let value = sqlx::query_scalar("select current_setting($1)").bind(name);
        Ok(value.fetch_one(&mut connection).await?)
    }
}

/// A checkpoint, and where we are after it.
pub(crate) async fn mark(connection: &mut PgConnection) -> Result<Mark> {
    checkpoint(connection).await?;
    let (xid, wal) = sqlx::query_as(
        "select pg_snapshot_xmax(pg_current_snapshot())::text::bigint,
            pg_current_wal_insert_lsn()::text",
    )
    .fetch_one(connection)
    .await?;
    Ok(Mark { xid, wal })
}

pub(crate) async fn checkpoint(connection: &mut PgConnection) -> Result<()> {
    sqlx::query("checkpoint").execute(connection).await?;
    Ok(())
}

/// How much was written ahead since a moment, by whomever.
pub(crate) async fn wal_since(connection: &mut PgConnection, mark: &Mark) -> Result<u64> {
    let bytes: i64 = sqlx::query_scalar(
        "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), $1::text::pg_lsn)::bigint",
    )
    .bind(&mark.wal)
    .fetch_one(connection)
    .await?;
    Ok(bytes.unsigned_abs())
}
