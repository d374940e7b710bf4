//! The import stage: the file or the sample that was named, or a sample into an empty database.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use billing::import::{
    ImportError, ImportOptions, ImportSummary, OnBadRow, Progress, cards, focus,
};
use billing_workers::gateways::SIM;
use billing_workers::site;
use chrono::{DateTime, NaiveDate, Utc};
use outbox::{Origin, Outbox, UnitOfWork};

use crate::BadInput;
use crate::args::{BadRow, CloseArgs, Format, Sample};
use crate::progress::Stage;
use crate::sample::{self, Sampled, Wanted};

/// Where the sample lies below the product's folder.
const FOCUS: &str = "samples/focus/focus_2024-09.csv";
/// Lies beside the sample: which of its accounts pays with which card of the simulated gateway.
const CARDS: &str = "cards.csv";

/// A month of so many is closed in seconds.
const CLOUD_ACCOUNTS: u64 = 1_000;
const CLOUD_SEED: u64 = 1;

/// What will be imported.
#[derive(Debug)]
pub(crate) enum Source {
    /// The file of `--usage`.
    Named(PathBuf),
    /// The sample: real usage of September 2024.
    Sample(PathBuf),
    /// The sample of customers that are made up.
    Cloud(Wanted),
}

/// What an import came to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Imported {
    pub(crate) took: Duration,
    /// Of the sample of customers that are made up.
    pub(crate) sampled: Option<Sampled>,
}

impl Source {
    /// The month that it is for, where it is for one.
    pub(crate) fn month(&self) -> Option<NaiveDate> {
        match self {
            Self::Cloud(wanted) => Some(wanted.month),
            Self::Named(_) | Self::Sample(_) => None,
        }
    }
}

/// What to import, if anything: a sample that nobody named only into a database that knows no
/// account.
pub(crate) async fn source(outbox: &Outbox, args: &CloseArgs) -> Result<Option<Source>> {
    let is_cloud = args.sample == Some(Sample::Cloud);
    if !is_cloud && (args.accounts.is_some() || args.seed.is_some()) {
        let text = "--accounts and --seed are of --sample cloud; the sample focus is what it is";
        return Err(BadInput(text.to_owned()).into());
    }
    if let Some(path) = &args.usage {
        return Ok(Some(Source::Named(path.clone())));
    }
    if is_cloud {
        return cloud(args).map(|wanted| Some(Source::Cloud(wanted)));
    }
    if args.sample.is_none() && billing::account::exists_any(outbox.pool()).await? {
        return Ok(None);
    }
    focus_sample().map(|path| Some(Source::Sample(path)))
}

fn cloud(args: &CloseArgs) -> Result<Wanted> {
    Ok(Wanted {
        accounts: args.accounts.unwrap_or(CLOUD_ACCOUNTS),
        seed: args.seed.unwrap_or(CLOUD_SEED),
        month: sample::month(args.period)?,
    })
}

fn focus_sample() -> Result<PathBuf> {
    let built_from = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    ["", built_from]
        .iter()
        .map(|root| Path::new(root).join(FOCUS))
        .find(|path| path.is_file())
        .ok_or_else(|| {
            let text = format!(
                "the database is empty and the sample {FOCUS} is not here: \
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
) -> Result<Imported> {
    let path = match source {
        Source::Named(path) | Source::Sample(path) => path,
        Source::Cloud(wanted) => {
            let sampled = sample::run(outbox, *wanted, origin).await?;
            return Ok(Imported {
                took: sampled.took,
                sampled: Some(sampled),
            });
        }
    };
    let stage = Stage::begin("import", "KiB");
    let options = options(args, outbox::clock::now());
    let show = |at| show(&stage, at);
    let summary = if let Source::Named(_) = source {
        let Format::Focus = args.format;
        focus::import_file(outbox, origin.clone(), path, options, show).await
    } else {
        let mut tx = outbox.begin(origin.clone()).await?;
        let imported = focus::import_file_within(&mut tx, path, options, |_| ()).await;
        if imported.is_ok() {
            give_cards(&mut tx, path, options.now).await?;
            tx.commit().await?;
        }
        imported
    };
    let summary = summary.map_err(|error| blame(path, error))?;
    list_skipped(&summary);
    Ok(Imported {
        took: stage.end(&outcome(source, &summary)),
        sampled: None,
    })
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
    let path = match source {
        Source::Named(path) | Source::Sample(path) => path,
        Source::Cloud(wanted) => return sample::within(tx, *wanted, now).await,
    };
    let stage = Stage::begin("import", "KiB");
    let show = |at| show(&stage, at);
    let imported = focus::import_file_within(tx, path, options(args, now), show).await;
    let summary = imported.map_err(|error| blame(path, error))?;
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
fn blame(path: &Path, error: ImportError) -> anyhow::Error {
    if let ImportError::BadRow(row) = error {
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
        Source::Sample(_) | Source::Cloud(_) => "the sample".to_owned(),
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
