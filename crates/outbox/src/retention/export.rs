//! Export: a partition as compressed lines of JSON, one event each, in the order of their ids.
//!
//! The file gets its name when it is whole: written, synced, read again and counted.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use futures::TryStreamExt as _;
use sqlx::PgPool;

use super::Partition;

/// Why a partition was not exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The folder's or the disk's.
    #[error("{path} could not be written")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file was read again and does not hold what the partition does.
    #[error("{path} holds {lines} events, and the partition {events}")]
    Differs {
        /// Which.
        path: PathBuf,
        /// In the file.
        lines: i64,
        /// In the log.
        events: i64,
    },
    /// The database's.
    #[error("the events could not be read")]
    Database(#[from] sqlx::Error),
}

/// Writes the oldest partition, and answers its file.
pub(super) async fn write(
    pool: &PgPool,
    partition: &Partition,
    events: i64,
    folder: &Path,
) -> Result<PathBuf, ExportError> {
    let path = folder.join(format!("{}.jsonl.gz", partition.name));
    let draft = folder.join(format!("{}.jsonl.gz.part", partition.name));
    let failed = |source| ExportError::File {
        path: draft.clone(),
        source,
    };
    fs::create_dir_all(folder).map_err(failed)?;
    let file = BufWriter::new(File::create(&draft).map_err(failed)?);
    let mut lines = GzEncoder::new(file, Compression::default());
    let mut rows = sqlx::query_scalar!(
        r#"
        -- retention: events as lines
        select to_json(event)::text as "line!" from outbox.event
        where id < $1 and tableoid = format('outbox.%I', $2::text)::regclass
        order by id
        "#,
        partition.below,
        partition.name,
    )
    .fetch(pool);
    while let Some(line) = rows.try_next().await? {
        writeln!(lines, "{line}").map_err(failed)?;
    }
    let file = lines
        .finish()
        .and_then(|file| Ok(file.into_inner()?))
        .map_err(failed)?;
    file.sync_all().map_err(failed)?;
    let lines = count(&draft).map_err(failed)?;
    if lines != events {
        return Err(ExportError::Differs {
            path: draft,
            lines,
            events,
        });
    }
    fs::rename(&draft, &path).map_err(failed)?;
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(failed)?;
    Ok(path)
}

/// How many lines of JSON a file holds; its checksum is compared on the way.
fn count(path: &Path) -> io::Result<i64> {
    let mut lines = 0;
    for line in BufReader::new(GzDecoder::new(File::open(path)?)).lines() {
        serde_json::from_str::<serde::de::IgnoredAny>(&line?)?;
        lines += 1;
    }
    Ok(lines)
}
