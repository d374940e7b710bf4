//! Importers: files of usage, read in chunks, each recorded in one transaction.
//!
//! An import can be repeated and run beside others: what is recorded already changes nothing, so
//! after a failure the same file is imported again from its start.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

use chrono::{DateTime, NaiveDate, Utc};

use crate::account::AccountError;
use crate::price::PriceError;
use crate::usage::UsageError;

pub mod cards;
pub mod focus;
pub mod opening;

/// How many bad rows a summary lists; it counts them all.
pub const LISTED_MAX: usize = 100;

/// What an import does with a row that it cannot read or bill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnBadRow {
    /// It stops there. The chunks before it stay recorded.
    Stop,
    /// It leaves the row out and lists it.
    Skip,
}

/// How to import.
#[derive(Debug, Clone, Copy)]
pub struct ImportOptions {
    /// What to do with a bad row.
    pub on_bad_row: OnBadRow,
    /// When accounts and prices that are new come into being.
    pub now: DateTime<Utc>,
}

/// A row that cannot be read or billed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRow {
    /// The line on which it begins; the header is line 1.
    pub line: u64,
    /// The column, where one is to blame.
    pub column: Option<&'static str>,
    /// What is wrong with it.
    pub problem: String,
}

impl fmt::Display for BadRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.column {
            Some(column) => write!(f, "line {}, column {column}: {}", self.line, self.problem),
            None => write!(f, "line {}: {}", self.line, self.problem),
        }
    }
}

/// How far an import has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Rows that are recorded or skipped.
    pub rows: u64,
    /// Bytes that these rows took.
    pub bytes: u64,
    /// Bytes of the file.
    pub bytes_total: u64,
}

/// What an import did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImportSummary {
    /// Rows of the file; `new`, `repeated` and `skipped` add up to it.
    pub rows: u64,
    /// Rows that were recorded.
    pub new: u64,
    /// Rows that had been recorded before.
    pub repeated: u64,
    /// Rows that were left out.
    pub skipped: u64,
    /// The first of them, at most [`LISTED_MAX`].
    pub bad_rows: Vec<BadRow>,
    /// How many different accounts the file bills.
    pub accounts: u64,
    /// The months the usage is of, by their first days.
    pub months: BTreeSet<NaiveDate>,
}

/// Why an import stopped. Chunks that were recorded stay; import the file again after the cause is
/// gone.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be opened or read to its end.
    #[error("{} cannot be read", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// A directory.
    #[error("{} is a directory: name the CSV file in it", .0.display())]
    Directory(PathBuf),
    /// Not even a header.
    #[error("{} is empty: it should begin with a line of column names", .0.display())]
    Empty(PathBuf),
    /// Line 1 does not end, or holds carriage returns.
    #[error(
        "{}, line 1: no line feed ends it, as in a file whose lines end with a carriage return \
         alone: save the file with line ends of Unix or Windows",
        .0.display()
    )]
    Lines(PathBuf),
    /// The header lacks columns.
    #[error("{} has no column {}: is it a FOCUS 1.0 file?", .0.display(), .1.join(", "))]
    MissingColumns(PathBuf, Vec<&'static str>),
    /// The header names a column twice.
    #[error("{} has the column {name} twice", .0.display(), name = .1)]
    RepeatedColumn(PathBuf, &'static str),
    /// A row cannot be read or billed, and bad rows are not skipped.
    #[error("{0}")]
    BadRow(BadRow),
    /// Accounts could not be created.
    #[error("could not create the accounts of a chunk")]
    Account(#[from] AccountError),
    /// Prices could not be created.
    #[error("could not create the prices of a chunk")]
    Price(#[from] PriceError),
    /// Usage could not be recorded.
    #[error("could not record the usage of a chunk")]
    Usage(#[from] UsageError),
    /// No transaction could be opened.
    #[error("could not open a transaction for a chunk")]
    Begin(#[source] sqlx::Error),
    /// A chunk was not committed.
    #[error("could not commit a chunk")]
    Commit(#[from] outbox::CommitError),
}

impl ImportError {
    /// Whether the same chunk may pass when it is tried again at once: another transaction was in
    /// the way, and Postgres ended ours.
    fn is_transient(&self) -> bool {
        let mut cause: Option<&(dyn Error + 'static)> = Some(self);
        while let Some(err) = cause {
            let database = err
                .downcast_ref::<sqlx::Error>()
                .and_then(sqlx::Error::as_database_error);
            if let Some(code) = database.and_then(|err| err.code()) {
                // Serialization failure, deadlock.
                return code == "40001" || code == "40P01";
            }
            cause = err.source();
        }
        false
    }
}
