//! FOCUS 1.0: usage and cost of clouds as a CSV file, one row per charge.
//!
//! | Column | becomes |
//! |---|---|
//! | `Id` | the event's id, of the source `focus` |
//! | `SubAccountId`, `SubAccountName` | the account's external id and name; its zone is UTC |
//! | `BillingCurrency` | the account's currency: one per account |
//! | `BillingPeriodStart` | the month the usage is of |
//! | `ChargePeriodStart` | when it was used |
//! | `SkuPriceId`, else `SkuId`, else `other` | the price's code |
//! | `PricingUnit`, `ChargeDescription` | what a line of it shows |
//! | `ListUnitPrice`, `PricingQuantity`, `BilledCost` | what is billed |
//!
//! A row is *rated* where its price times its quantity is its cost within 0.000000001: it joins the
//! per-unit price, and the sum of the quantities is rated at the close. Elsewhere (blocks, rebates,
//! credits, no price) the cost is *passed through* exactly as it stands. `NULL` and empty fields
//! mean absent.
//!
//! Reads a file of any size in chunks: a thread parses ahead by two chunks while one is recorded.

use std::collections::BTreeSet;
use std::path::Path;

use outbox::{Origin, Outbox, UnitOfWork, failpoint};

use self::read::{Chunk, Reading};
use super::{ImportError, ImportOptions, ImportSummary, LISTED_MAX, OnBadRow, Progress};
use crate::ids::AccountId;

mod chunk;
mod column;
mod number;
mod read;
mod row;

pub use self::chunk::{ChunkOutcome, import_chunk};
pub use self::row::Row;

/// The source of the events.
pub const SOURCE: &str = "focus";
/// How often a chunk is tried when other transactions are in its way.
const ATTEMPTS_MAX: u32 = 5;

/// Imports a file, a transaction per chunk, in the bulk lane.
///
/// # Errors
/// [`ImportError`]: a file that is none, a bad row that is not to be skipped, or the database's.
/// Chunks recorded before stay.
pub async fn import_file(
    outbox: &Outbox,
    origin: Origin,
    path: &Path,
    options: ImportOptions,
    mut progress: impl FnMut(Progress),
) -> Result<ImportSummary, ImportError> {
    let origin = origin.bulk();
    let mut reading = Reading::start(path, options.on_bad_row);
    let mut tally = Tally::default();
    while let Some(chunk) = reading.next().await? {
        let outcome = commit_chunk(outbox, &origin, &chunk, options).await?;
        progress(tally.add(chunk, outcome));
    }
    Ok(tally.summary())
}

/// Imports a file within a transaction of the caller's, who may still undo all of it.
///
/// # Errors
/// As [`import_file`]; roll back then.
pub async fn import_file_within(
    tx: &mut UnitOfWork,
    path: &Path,
    options: ImportOptions,
    mut progress: impl FnMut(Progress),
) -> Result<ImportSummary, ImportError> {
    let mut reading = Reading::start(path, options.on_bad_row);
    let mut tally = Tally::default();
    while let Some(chunk) = reading.next().await? {
        let outcome = import_chunk(tx, &chunk.rows, options.now).await?;
        progress(tally.add(chunk, heeded(outcome, options.on_bad_row)?));
    }
    Ok(tally.summary())
}

async fn commit_chunk(
    outbox: &Outbox,
    origin: &Origin,
    chunk: &Chunk,
    options: ImportOptions,
) -> Result<ChunkOutcome, ImportError> {
    let mut attempt = 1;
    loop {
        match try_chunk(outbox, origin, chunk, options).await {
            Err(err) if err.is_transient() && attempt < ATTEMPTS_MAX => {
                tracing::warn!(
                    attempt,
                    "Chunk was in another transaction's way, trying it again"
                );
                attempt += 1;
            }
            outcome => return outcome,
        }
    }
}

async fn try_chunk(
    outbox: &Outbox,
    origin: &Origin,
    chunk: &Chunk,
    options: ImportOptions,
) -> Result<ChunkOutcome, ImportError> {
    let mut tx = outbox
        .begin(origin.clone())
        .await
        .map_err(ImportError::Begin)?;
    let outcome = import_chunk(&mut tx, &chunk.rows, options.now).await?;
    let outcome = heeded(outcome, options.on_bad_row)?;
    failpoint!("import.chunk").map_err(ImportError::Begin)?;
    tx.commit().await?;
    Ok(outcome)
}

/// The outcome, unless a row was refused and that is to stop the import.
fn heeded(outcome: ChunkOutcome, on_bad_row: OnBadRow) -> Result<ChunkOutcome, ImportError> {
    match (on_bad_row, outcome.refused.first()) {
        (OnBadRow::Stop, Some(bad)) => Err(ImportError::BadRow(bad.clone())),
        (OnBadRow::Stop | OnBadRow::Skip, _) => Ok(outcome),
    }
}

/// The figures of an import, chunk by chunk.
#[derive(Default)]
struct Tally {
    summary: ImportSummary,
    accounts: BTreeSet<AccountId>,
}

impl Tally {
    fn add(&mut self, chunk: Chunk, outcome: ChunkOutcome) -> Progress {
        let summary = &mut self.summary;
        let mut bad_rows = [chunk.bad_rows, outcome.refused].concat();
        bad_rows.sort_by_key(|bad| bad.line);
        summary.new += outcome.recorded.new;
        summary.repeated += outcome.recorded.repeated;
        summary.skipped += bad_rows.len() as u64;
        summary.rows = summary.new + summary.repeated + summary.skipped;
        summary.months.extend(outcome.months);
        summary.bad_rows.extend(bad_rows);
        summary.bad_rows.truncate(LISTED_MAX);
        self.accounts.extend(outcome.accounts);
        Progress {
            rows: summary.rows,
            bytes: chunk.bytes,
            bytes_total: chunk.bytes_total,
        }
    }

    fn summary(self) -> ImportSummary {
        ImportSummary {
            accounts: self.accounts.len() as u64,
            ..self.summary
        }
    }
}
