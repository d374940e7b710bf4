//! Keeping the log: what goes when it is old, and where it goes on after a dump was restored.

use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::Result;
use outbox::operation::{self, By};
use outbox::retention::{self, Policy};
use sqlx::PgPool;

pub(crate) async fn forget(pool: &PgPool, stream: &str, by: By) -> Result<()> {
    operation::forget_stream(pool, stream, &by).await?;
    writeln!(
        io::stdout(),
        "Nothing is kept for the stream {stream} any more"
    )?;
    Ok(())
}

pub(crate) async fn rebase(pool: &PgPool, by: By) -> Result<()> {
    let rebased = outbox::rebase(pool, &by).await?;
    let (tick, events) = (rebased.tick, rebased.events);
    writeln!(
        io::stdout(),
        "The log goes on here with tick {tick}; events that no tick held yet: {events}"
    )?;
    Ok(())
}

pub(crate) async fn retire(pool: &PgPool, keep_days: i32, export: Option<PathBuf>) -> Result<()> {
    let mut out = io::stdout();
    for partition in retention::index_history(pool).await? {
        writeln!(
            out,
            "{partition} is closed, and indexed for looks into history"
        )?;
    }
    let policy = Policy { keep_days, export };
    let retired = retention::retire(pool, &policy).await?;
    for (partition, events, file) in &retired.partitions {
        let to = file
            .as_ref()
            .map(|file| format!(", written to {}", file.display()));
        let to = to.unwrap_or_default();
        writeln!(out, "{partition} is gone, with {events} events{to}")?;
    }
    if let Some(by) = &retired.held_by {
        writeln!(out, "The next one is old enough, but {by} still needs it")?;
    }
    let (partitions, ticks) = (retired.partitions.len(), retired.ticks);
    writeln!(
        out,
        "Partitions dropped: {partitions}; ticks pruned: {ticks}"
    )?;
    Ok(())
}
