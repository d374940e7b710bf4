//! Books: one SQLite file with every charge, refund and webhook of the gateway.
//!
//! One thread writes, so that rules about the same key, card or charge need no locks; what it
//! answers is on disk before. Look-ups read beside it and never wait for it.

mod cancel;
mod charge;
mod key;
mod lookup;
mod refund;
mod statement;
mod webhook;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::http::StatusCode;
use rusqlite::{Connection, OpenFlags, Transaction};

use crate::answer::{Answer, Refusal};
use crate::clock::{Clock, Moment};
use crate::profile::Profile;

pub(crate) use lookup::Lookup;
pub(crate) use statement::StatementQuery;
pub(crate) use webhook::{Outcome, Webhook};
pub(crate) use writer::{Order, Writer};

const FILE: &str = "gateway-sim.sqlite";
/// What makes books of one version books of the next; those of a later program are refused.
const SCHEMA: [&str; 2] = [
    include_str!("books/schema.sql"),
    include_str!("books/saved_error.sql"),
];
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the books do not open.
#[derive(Debug, thiserror::Error)]
pub enum BooksError {
    /// SQLite refused.
    #[error("cannot open the gateway's books")]
    Sqlite(#[from] rusqlite::Error),
    /// The file was written by a later version of this program.
    #[error(
        "the books have schema {0}, this program knows {known}: use another folder",
        known = SCHEMA.len()
    )]
    Schema(i64),
    /// The thread that writes could not be started.
    #[error("cannot start the thread that writes the gateway's books")]
    Thread(#[from] std::io::Error),
}

/// What holds for all requests.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    /// In what this gateway differs.
    pub(crate) profile: Profile,
    /// Whether results are announced by webhook.
    pub(crate) announces: bool,
}

/// The open books.
#[derive(Debug, Clone)]
pub(crate) struct Books {
    pub(crate) writer: Writer,
    pub(crate) lookup: Arc<Lookup>,
    pub(crate) clock: Clock,
}

impl Books {
    /// Opens the books of the folder, new ones if there are none. The caller holds the folder.
    /// The thread ends, and the file is closed, when all clones of the books are dropped.
    pub(crate) fn open(
        folder: &Path,
        rules: Rules,
        clock: Clock,
    ) -> Result<(Self, JoinHandle<()>), BooksError> {
        let file = folder.join(FILE);
        let mut connection = Connection::open(&file)?;
        prepare(&mut connection)?;
        let reader = Connection::open_with_flags(&file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        reader.busy_timeout(BUSY_TIMEOUT)?;
        let (writer, thread) = Writer::start(connection, rules, clock.clone())?;
        let lookup = Arc::new(Lookup::new(reader));
        let books = Self {
            writer,
            lookup,
            clock,
        };
        Ok((books, thread))
    }
}

fn prepare(connection: &mut Connection) -> Result<(), BooksError> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    // A commit that was answered must survive the loss of power, not of the program only.
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    let tx = connection.transaction()?;
    let version: i64 = tx.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let written = usize::try_from(version).ok();
    let missing = written.and_then(|written| SCHEMA.get(written..));
    for part in missing.ok_or(BooksError::Schema(version))? {
        tx.execute_batch(part)?;
    }
    let version = i64::try_from(SCHEMA.len()).expect("there are few");
    tx.pragma_update(None, "user_version", version)?;
    Ok(tx.commit()?)
}

/// A transaction that is being written, at its instant, under the rules.
struct Page<'a> {
    tx: &'a Transaction<'a>,
    now: Moment,
    rules: &'a Rules,
}

/// What an order came to.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub(crate) answer: Answer,
    /// Whether it happened now, rather than being repeated from the books or refused.
    pub(crate) fresh: bool,
    /// The webhooks that it left to send.
    pub(crate) webhooks: Vec<Webhook>,
}

impl Written {
    fn refused(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self::told(Refusal::new(status, code, message).answer())
    }

    fn told(answer: Answer) -> Self {
        Self {
            answer,
            fresh: false,
            webhooks: Vec::new(),
        }
    }
}
