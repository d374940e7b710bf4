//! Rows for COPY: the cheapest way for many rows into a table.
//!
//! A statement with an array per column makes the server take arrays apart and insert row by row;
//! COPY reads rows as they are and writes them a page at a time. Triggers and constraints hold as
//! for any insert; what COPY cannot do is `on conflict`.

use sqlx::encode::IsNull;
use sqlx::postgres::PgArgumentBuffer;
use sqlx::{Encode, PgConnection, Postgres};

/// The signature with which a binary COPY begins, its flags and the length of its extension.
const HEAD: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What stands where another row would tell its number of columns.
const END: [u8; 2] = (-1_i16).to_be_bytes();
/// The length of a value that is null.
const NULL: i32 = -1;

/// A table and those of its columns that are written; the others get their defaults.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The table with its schema.
    pub table: &'static str,
    /// The columns, in the order in which each row puts its values.
    pub columns: &'static [&'static str],
}

/// Rows on their way into a table, by [`crate::UnitOfWork::copy`].
#[derive(Debug)]
pub struct Rows {
    target: Target,
    bytes: PgArgumentBuffer,
    /// Why it cannot be sent.
    failed: Option<String>,
    rows: u64,
    values: usize,
}

impl Rows {
    /// No rows yet.
    #[must_use]
    pub fn new(target: Target) -> Self {
        let mut bytes = PgArgumentBuffer::default();
        bytes.extend_from_slice(HEAD);
        Self {
            target,
            bytes,
            failed: None,
            rows: 0,
            values: 0,
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Begins a row: a value for each column has to follow.
    ///
    /// # Panics
    /// When the row before it lacks values.
    pub fn row(&mut self) -> &mut Self {
        self.must_be_whole();
        let columns = i16::try_from(self.target.columns.len());
        let columns = columns.expect("a table has fewer than 2^15 columns");
        self.bytes.extend_from_slice(&columns.to_be_bytes());
        self.rows += 1;
        self
    }

    /// Puts the next value of the row. It must have the column's type: COPY converts nothing.
    pub fn put<'q>(&mut self, value: impl Encode<'q, Postgres>) -> &mut Self {
        self.values += 1;
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&NULL.to_be_bytes());
        match value.encode(&mut self.bytes) {
            Ok(IsNull::No) => self.measure(at),
            Ok(IsNull::Yes) => {}
            Err(error) => self.failed = Some(error.to_string()),
        }
        self
    }

    /// Puts a `json` value.
    pub fn put_json(&mut self, value: &serde_json::Value) -> &mut Self {
        self.values += 1;
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&NULL.to_be_bytes());
        match serde_json::to_writer(&mut *self.bytes, value) {
            Ok(()) => self.measure(at),
            Err(error) => self.failed = Some(error.to_string()),
        }
        self
    }

    /// Writes the length of the value that ends here before it.
    fn measure(&mut self, at: usize) {
        let length = i32::try_from(self.bytes.len() - at - size_of::<i32>());
        match length {
            Ok(length) => self.bytes[at..][..4].copy_from_slice(&length.to_be_bytes()),
            Err(_) => self.failed = Some("a value of more than 2 GiB".to_owned()),
        }
    }

    /// Panics when the last row lacks values, or has too many.
    pub(crate) fn must_be_whole(&self) {
        let wanted = usize::try_from(self.rows).map(|rows| rows * self.target.columns.len());
        assert_eq!(
            Ok(self.values),
            wanted,
            "a row of {} lacks values, or has too many",
            self.target.table
        );
    }

    /// Writes the rows; answers how many. Only when it was awaited to its end is the connection of
    /// further use: one that is shared wants [`crate::UnitOfWork::copy`].
    ///
    /// # Errors
    /// The database's; a value that has no binary form.
    ///
    /// # Panics
    /// When a row lacks values, or has too many.
    pub async fn send(mut self, connection: &mut PgConnection) -> Result<u64, sqlx::Error> {
        self.must_be_whole();
        if let Some(why) = self.failed {
            return Err(sqlx::Error::Encode(why.into()));
        }
        self.bytes.extend_from_slice(&END);
        let Target { table, columns } = self.target;
        let columns = columns.join(", ");
        let statement = format!("copy {table} ({columns}) from stdin (format binary)");
        let mut copy = connection.copy_in_raw(&statement).await?;
        copy.send(self.bytes.as_slice()).await?;
        copy.finish().await
    }
}
