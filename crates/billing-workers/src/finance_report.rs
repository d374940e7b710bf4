//! The consumer that ends a close: once all that its invoices set off has been handled, it writes
//! the month's report for finance, and notes the run as settled.

use std::path::{Path, PathBuf};

use billing::ids::RunId;
use billing::month_close;
use billing::report::{self, SheetError};
use chrono::NaiveDate;
use outbox::{Act, Dedupe, Event, External, Failure, Load, UnitOfWork};
use sqlx::PgPool;
use uuid::Uuid;

use crate::payload::{MonthCloseSettledV1, Payload};
use crate::site::told;

/// What it reads.
pub(crate) const TOPICS: &[&str] = &[MonthCloseSettledV1::TOPIC];

/// Writes the report of a month whose close is settled.
#[derive(Debug, Clone)]
pub struct FinanceReport {
    pool: PgPool,
    folder: PathBuf,
}

/// A close that is to be settled.
#[derive(Debug, Clone, Copy)]
pub struct Settling {
    run: RunId,
    batch: Uuid,
    month: NaiveDate,
}

impl FinanceReport {
    /// The reports of a folder, which is created when the first is written.
    #[must_use]
    pub fn into_folder(pool: PgPool, folder: &Path) -> Self {
        Self {
            pool,
            folder: folder.to_owned(),
        }
    }
}

impl External for FinanceReport {
    type Intent = Settling;
    type Answer = ();

    const DEDUPE: Dedupe = Dedupe::IdempotentSink;

    async fn load(
        &self,
        tx: &mut UnitOfWork,
        events: &[Event],
    ) -> Result<Vec<Load<Settling>>, Failure> {
        let mut loads = Vec::with_capacity(events.len());
        for event in events {
            let MonthCloseSettledV1 { run_id, month } = MonthCloseSettledV1::of(event)?;
            // The key of a batch's callback is the batch.
            let (run, batch) = (run_id, event.key);
            loads.push(match month_close::is_settling(tx, run, batch).await? {
                true => Load::Call(Settling { run, batch, month }),
                false => Load::Obsolete("the month was opened again, or is settled".to_owned()),
            });
        }
        Ok(loads)
    }

    async fn act(&self, settling: &Settling) -> Act<()> {
        match write_report(&self.pool, settling.month, &self.folder).await {
            Ok(_) => Act::Answer(()),
            // A full disk or a lost connection: it is written when they are back.
            Err(error) => Act::Unavailable {
                error: told(&error),
                after: None,
            },
        }
    }

    async fn settle(
        &self,
        tx: &mut UnitOfWork,
        answers: Vec<(Settling, ())>,
    ) -> Result<(), Failure> {
        let now = outbox::clock::now();
        for (Settling { run, batch, .. }, ()) in answers {
            month_close::note_settled(tx, run, (batch, now)).await?;
        }
        Ok(())
    }
}

/// Why a report was not written.
#[derive(Debug, thiserror::Error)]
pub enum ReportFileError {
    /// Its folder cannot be made.
    #[error("cannot create the folder {folder}")]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It cannot be written.
    #[error("cannot write the report {path}")]
    Sheet {
        /// The file.
        path: PathBuf,
        /// Why.
        source: SheetError,
    },
}

/// Where a month's report is.
#[must_use]
pub fn report_path(folder: &Path, month: NaiveDate) -> PathBuf {
    folder.join(format!("{}.csv", month.format("%Y-%m")))
}

/// Writes a month's CSV file into a folder, which is created if it is not there, and answers its
/// path. Written again it is replaced as a whole.
///
/// # Errors
/// [`ReportFileError`].
pub async fn write_report(
    pool: &PgPool,
    month: NaiveDate,
    folder: &Path,
) -> Result<PathBuf, ReportFileError> {
    std::fs::create_dir_all(folder).map_err(|source| ReportFileError::Folder {
        folder: folder.to_owned(),
        source,
    })?;
    let path = report_path(folder, month);
    let entries = std::pin::pin!(report::invoices(pool, month));
    match report::write_csv(entries, &path).await {
        Ok(_) => Ok(path),
        Err(source) => Err(ReportFileError::Sheet { path, source }),
    }
}
