//! The import stage: the file that was named, or the sample into an empty database.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use billing::import::{
    ImportError, ImportOptions, ImportSummary, OnBadRow, Progress, cards, focus,
};
use billing_workers::gateways::SIM;
use billing_workers::site;
use chrono::{DateTime, Utc};
use outbox::{Origin, Outbox, UnitOfWork};

use crate::BadInput;
use crate::args::{BadRow, CloseArgs, Format};
use crate::progress::Stage;

/// Where the sample lies below the product's folder.
const SAMPLE: &str = "samples/focus/focus_2024-09.csv";
/// Lies beside the sample: which of its accounts pays with which card of the simulated gateway.
const CARDS: &str = "cards.csv";

/// What will be imported.
#[derive(Debug)]
pub(crate) enum Source {
    /// The file of `--usage`.
    Named(PathBuf),
    /// The sample: real usage of September 2024.
    Sample(PathBuf),
}

/// Which file to import, if any: the sample only into a database that knows no account.
pub(crate) async fn source(outbox: &Outbox, args: &CloseArgs) -> Result<Option<Source>> {
    if let Some(path) = &args.usage {
        return Ok(Some(Source::Named(path.clone())));
    }
    if billing::account::exists_any(outbox.pool()).await? {
        return Ok(None);
    }
    sample().map(|path| Some(Source::Sample(path)))
}

fn sample() -> Result<PathBuf> {
    let built_from = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    ["", built_from]
        .iter()
        .map(|root| Path::new(root).join(SAMPLE))
        .find(|path| path.is_file())
        .ok_or_else(|| {
            let text = format!(
                "the database is empty and the sample {SAMPLE} is not here: \
                 name a usage file with --usage FILE"
            );
            BadInput(text).into()
        })
}

/// Imports in transactions of its own. The sample is one transaction: killed half-way, it leaves
/// the database empty and the next run begins again.
pub(crate) async fn run(
    outbox: &Outbox,
    source: &Source,
    args: &CloseArgs,
    origin: &Origin,
) -> Result<Duration> {
    let stage = Stage::begin("import", "KiB");
    let options = options(args, outbox::clock::now());
    let summary = match source {
        Source::Named(path) => {
            let Format::Focus = args.format;
            let show = |at| show(&stage, at);
            focus::import_file(outbox, origin.clone(), path, options, show).await
        }
        Source::Sample(path) => {
            let mut tx = outbox.begin(origin.clone()).await?;
            let imported = focus::import_file_within(&mut tx, path, options, |_| ()).await;
            if imported.is_ok() {
                give_cards(&mut tx, path, options.now).await?;
                tx.commit().await?;
            }
            imported
        }
    };
    let summary = summary.map_err(|error| blame(source, error))?;
    list_skipped(&summary);
    Ok(stage.end(&outcome(source, &summary)))
}

/// The sample's cards are known to the simulated gateway and to no other.
async fn give_cards(tx: &mut UnitOfWork, sample: &Path, now: DateTime<Utc>) -> Result<()> {
    let path = sample.with_file_name(CARDS);
    let table = File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
    cards::import(tx, table, SIM, now)
        .await
        .with_context(|| format!("cannot import {}", path.display()))?;
    Ok(())
}

/// Imports into a transaction that will be rolled back.
pub(crate) async fn within(
    tx: &mut UnitOfWork,
    source: &Source,
    args: &CloseArgs,
    now: DateTime<Utc>,
) -> Result<()> {
    let stage = Stage::begin("import", "KiB");
    let (Source::Named(path) | Source::Sample(path)) = source;
    let show = |at| show(&stage, at);
    let imported = focus::import_file_within(tx, path, options(args, now), show).await;
    let summary = imported.map_err(|error| blame(source, error))?;
    list_skipped(&summary);
    stage.end(&outcome(source, &summary));
    Ok(())
}

fn options(args: &CloseArgs, now: DateTime<Utc>) -> ImportOptions {
    let on_bad_row = match args.on_bad_row {
        BadRow::Stop => OnBadRow::Stop,
        BadRow::Skip => OnBadRow::Skip,
    };
    ImportOptions { on_bad_row, now }
}

fn show(stage: &Stage, at: Progress) {
    stage.at(at.bytes / 1024, at.bytes_total / 1024);
}

/// The file's faults are the caller's input; the rest is trouble on the way.
fn blame(source: &Source, error: ImportError) -> anyhow::Error {
    if let ImportError::BadRow(row) = error {
        let (Source::Named(path) | Source::Sample(path)) = source;
        let text = format!(
            "{}, {row}: mend the row, or leave such rows out with --on-bad-row skip",
            path.display()
        );
        return BadInput(text).into();
    }
    let is_input = matches!(
        error,
        ImportError::Read(..)
            | ImportError::Directory(_)
            | ImportError::Empty(_)
            | ImportError::Lines(_)
            | ImportError::MissingColumns(..)
            | ImportError::RepeatedColumn(..)
    );
    if is_input {
        let text = site::told(&error);
        return BadInput(text).into();
    }
    anyhow::Error::new(error).context("the import stopped; run again to go on")
}

fn list_skipped(summary: &ImportSummary) {
    for row in &summary.bad_rows {
        eprintln!("skipped   {row}");
    }
    let listed = u64::try_from(summary.bad_rows.len()).unwrap_or(u64::MAX);
    if summary.skipped > listed {
        eprintln!("skipped   and {} rows more", summary.skipped - listed);
    }
}

fn outcome(source: &Source, summary: &ImportSummary) -> String {
    let what = match source {
        Source::Named(path) => path.display().to_string(),
        Source::Sample(_) => "the sample".to_owned(),
    };
    if summary.rows == 0 {
        return format!("{what}: a line of column names, and no rows below it");
    }
    let skipped = match summary.skipped {
        0 => String::new(),
        n => format!(", {n} skipped"),
    };
    let ImportSummary {
        rows,
        new,
        repeated,
        accounts,
        ..
    } = summary;
    format!("{what}: {rows} rows of {accounts} accounts ({new} new, {repeated} repeated{skipped})")
}
