//! The reference: the rows of the close once more, as cheaply as Postgres takes rows.
//!
//! Same columns, contents and indexes; no triggers, no foreign keys, no checks, no locks, one
//! connection, binary COPY. Nothing that keeps a billing system right is in it, so no close reaches
//! it; how near one comes says how much all that costs on the machine at hand.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::TryStreamExt as _;
use sqlx::{AssertSqlSafe, PgConnection};

use crate::server::{self, Mark};

/// What the reference came to.
pub(crate) struct Reference {
    pub(crate) rows: u64,
    pub(crate) took: Duration,
    pub(crate) wal_bytes: u64,
}

/// The tables that a close writes rows into, and which of the rows that are new or changed since it
/// began count: of a period only the next one, since the one that is closed is there already.
const TABLES: &[(&str, &str, &str)] = &[
    ("billing", "line", "true"),
    ("billing", "transfer", "true"),
    ("billing", "balance", "true"),
    ("billing", "invoice", "true"),
    ("billing", "credit_use", "true"),
    ("billing", "period", "state = 'open'"),
    ("outbox", "event", "true"),
];

/// How much is handed to the server at once.
const PIECE_BYTES: usize = 1 << 20;

/// Writes what was written since `mark` once more, and forgets it.
pub(crate) async fn run(
    connection: &mut PgConnection,
    mark: &Mark,
    folder: &Path,
) -> Result<Reference> {
    eprintln!("\nreference");
    execute(connection, "create schema reference").await?;
    for table in TABLES {
        prepare(connection, table, mark, folder).await?;
    }
    let before = server::mark(connection).await?;
    let (mut rows, began) = (0, Instant::now());
    for (_, table, _) in TABLES {
        rows += copy(connection, table, folder).await?;
    }
    let took = began.elapsed();
    let wal_bytes = server::wal_since(connection, &before).await?;
    execute(connection, "drop schema reference cascade").await?;
    eprintln!("reference {rows} rows in {} ms", took.as_millis());
    Ok(Reference {
        rows,
        took,
        wal_bytes,
    })
}

async fn execute(connection: &mut PgConnection, statement: &'static str) -> Result<()> {
    sqlx::raw_sql(statement).execute(connection).await?;
    Ok(())
}

/// Makes the table and writes its rows into a file.
async fn prepare(
    connection: &mut PgConnection,
    (schema, table, condition): &(&str, &str, &str),
    mark: &Mark,
    folder: &Path,
) -> Result<()> {
    let create = format!(
        "create table reference.{table}
            (like {schema}.{table} including defaults including indexes)"
    );
    sqlx::raw_sql(AssertSqlSafe(create))
        .execute(&mut *connection)
        .await?;
    // A fresh cluster's transaction ids have not wrapped around.
    let select = format!(
        "copy (select * from {schema}.{table}
            where xmin::text::bigint >= {} and {condition}) to stdout (format binary)",
        mark.xid
    );
    let path = folder.join(table);
    let mut file = File::create(&path).with_context(|| format!("cannot write {path:?}"))?;
    let mut rows = connection.copy_out_raw(&select).await?;
    while let Some(piece) = rows.try_next().await? {
        file.write_all(&piece)?;
    }
    Ok(())
}

async fn copy(connection: &mut PgConnection, table: &str, folder: &Path) -> Result<u64> {
    let mut file = File::open(folder.join(table))?;
    let statement = format!("copy reference.{table} from stdin (format binary)");
    let mut copy = connection.copy_in_raw(&statement).await?;
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let length = file.read(&mut piece)?;
        if length == 0 {
            break;
        }
        copy.send(&piece[..length]).await?;
    }
    Ok(copy.finish().await?)
}
