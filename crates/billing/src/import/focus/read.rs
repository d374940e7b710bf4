//! Reading a file ahead of its recording, on a thread of its own, a chunk at a time.
//!
//! At most three chunks are in memory, whatever the size of the file: one being read, one waiting
//! and one being recorded.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use csv::{ByteRecord, Position, Reader, ReaderBuilder, Terminator};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::JoinHandle;

use super::super::{BadRow, ImportError, OnBadRow};
use super::column::{HeaderProblem, Layout};
use super::row::Row;

/// Rows of a chunk: enough to make a statement worth its round trip, few enough to hold locks
/// briefly.
const CHUNK_ROWS: usize = 1_000;
/// The longest row. A quote that is never closed would take the rest of the file into memory.
const ROW_BYTES_MAX: u64 = 4 << 20;

/// Some rows of a file.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    /// Those that can be billed.
    pub(super) rows: Vec<Row>,
    /// Those that cannot be read.
    pub(super) bad_rows: Vec<BadRow>,
    /// Where the chunk ends in the file.
    pub(super) bytes: u64,
    /// The size of the file.
    pub(super) bytes_total: u64,
}

/// A file that is being read. Dropped, it stops.
pub(super) struct Reading {
    path: PathBuf,
    chunks: Receiver<Result<Chunk, ImportError>>,
    thread: Option<JoinHandle<()>>,
}

impl Reading {
    pub(super) fn start(path: &Path, on_bad_row: OnBadRow) -> Self {
        let (sender, chunks) = mpsc::channel(1);
        let path = path.to_owned();
        let source = path.clone();
        let thread = tokio::task::spawn_blocking(move || {
            if let Err(err) = read(&source, on_bad_row, &sender) {
                // Where nobody listens any more, nobody needs to know.
                drop(sender.blocking_send(Err(err)));
            }
        });
        Self {
            path,
            chunks,
            thread: Some(thread),
        }
    }

    /// The next chunk, until there is none.
    pub(super) async fn next(&mut self) -> Result<Option<Chunk>, ImportError> {
        if let Some(chunk) = self.chunks.recv().await {
            return chunk.map(Some);
        }
        // The end of the channel is the end of the file only if the thread came to its own end.
        if let Some(thread) = self.thread.take() {
            let died = |err| ImportError::Read(self.path.clone(), io::Error::other(err));
            thread.await.map_err(died)?;
        }
        Ok(None)
    }
}

fn read(
    path: &Path,
    on_bad_row: OnBadRow,
    sender: &Sender<Result<Chunk, ImportError>>,
) -> Result<(), ImportError> {
    let mut rows = Rows::open(path)?;
    loop {
        let chunk = rows.chunk(on_bad_row)?;
        let ended = chunk.rows.is_empty() && chunk.bad_rows.is_empty();
        if ended || sender.blocking_send(Ok(chunk)).is_err() {
            return Ok(());
        }
    }
}

/// The rows of an open file.
struct Rows {
    path: PathBuf,
    reader: Reader<Bounded>,
    record: ByteRecord,
    layout: Layout,
    meter: Rc<Meter>,
    /// Where the row began that was no whole one.
    torn_at: Option<Position>,
    bytes_total: u64,
}

impl Rows {
    fn open(path: &Path) -> Result<Self, ImportError> {
        let unreadable = |err| ImportError::Read(path.to_owned(), err);
        let file = File::open(path).map_err(unreadable)?;
        let about = file.metadata().map_err(unreadable)?;
        if about.is_dir() {
            return Err(ImportError::Directory(path.to_owned()));
        }
        let meter = Rc::new(Meter {
            limit: Cell::new(ROW_BYTES_MAX),
            ..Meter::default()
        });
        let bounded = Bounded {
            file,
            meter: Rc::clone(&meter),
        };
        // Flexible, because rows of a wrong length are ours to name. A carriage return before the
        // line feed stays in the last field, where it is trimmed: taken for an end of its own, it
        // would shift the count of lines.
        let mut reader = ReaderBuilder::new()
            .flexible(true)
            .terminator(Terminator::Any(b'\n'))
            .from_reader(bounded);
        let header = reader.byte_headers().map_err(|err| no_header(err, path))?;
        let layout = layout(header, path)?;
        let (path, record, bytes_total) = (path.to_owned(), ByteRecord::new(), about.len());
        Ok(Self {
            path,
            reader,
            record,
            layout,
            meter,
            torn_at: None,
            bytes_total,
        })
    }

    /// The next rows; none at the end of the file.
    fn chunk(&mut self, on_bad_row: OnBadRow) -> Result<Chunk, ImportError> {
        let mut chunk = Chunk {
            bytes_total: self.bytes_total,
            ..Chunk::default()
        };
        while chunk.rows.len() + chunk.bad_rows.len() < CHUNK_ROWS {
            match self.row()? {
                None => break,
                Some(Ok(row)) => chunk.rows.push(row),
                Some(Err(bad)) => {
                    let bad = self.resume_after(bad)?;
                    match on_bad_row {
                        OnBadRow::Stop => return Err(ImportError::BadRow(bad)),
                        OnBadRow::Skip => chunk.bad_rows.push(bad),
                    }
                }
            }
        }
        chunk.bytes = self.reader.position().byte();
        Ok(chunk)
    }

    fn row(&mut self) -> Result<Option<Result<Row, BadRow>>, ImportError> {
        loop {
            let at = self.reader.position().clone();
            self.meter.limit.set(at.byte() + ROW_BYTES_MAX);
            match self.reader.read_byte_record(&mut self.record) {
                Ok(false) => return Ok(None),
                Ok(true) if self.is_blank() => {}
                Ok(true) => {
                    let row = Row::parse(&self.record, self.line(), &self.layout);
                    let is_torn = matches!(&row, Err(bad) if bad.column.is_none());
                    self.torn_at = Some(at).filter(|_| is_torn && self.spans_lines());
                    return Ok(Some(row));
                }
                Err(err) => {
                    let bad = self.too_long(at.line(), cause(err))?;
                    self.torn_at = Some(at);
                    return Ok(Some(Err(bad)));
                }
            }
        }
    }

    /// Reads on after the first line of a row that was no whole one, and corrects which line it is.
    ///
    /// A quote too many makes one row of all lines up to the next quote, or to the end of the file:
    /// the line with the quote is bad, and those after it must not be left out unseen.
    fn resume_after(&mut self, mut bad: BadRow) -> Result<BadRow, ImportError> {
        let Some(mut at) = self.torn_at.take() else {
            return Ok(bad);
        };
        let mut file = BufReader::new(&self.reader.get_ref().file);
        if file.seek(SeekFrom::Start(at.byte())).is_err() {
            // A pipe: there is no way back.
            return Err(ImportError::BadRow(bad));
        }
        loop {
            bad.line = at.line();
            let length = file
                .skip_until(b'\n')
                .map_err(|err| ImportError::Read(self.path.clone(), err))?;
            at.set_byte(at.byte() + length as u64);
            at.set_line(at.line() + 1);
            // The row may stand below empty lines, which the reader passed over.
            if length != 1 {
                break;
            }
        }
        let sought = self.reader.seek_raw(SeekFrom::Start(at.byte()), at);
        sought.map_err(|err| ImportError::Read(self.path.clone(), cause(err)))?;
        Ok(bad)
    }

    fn spans_lines(&self) -> bool {
        self.record.as_slice().contains(&b'\n')
    }

    /// A line with nothing but a carriage return; the reader itself passes over empty ones.
    fn is_blank(&self) -> bool {
        self.record.len() == 1 && self.record[0].trim_ascii().is_empty()
    }

    /// The line on which the row begins that was just read: counted back from where it ended, since
    /// the reader says where it began before it passed over empty lines.
    fn line(&self) -> u64 {
        let end = self.reader.position();
        let within = self
            .record
            .as_slice()
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
        let at_end_of_file = end.byte() == self.meter.taken.get();
        let is_terminated = !at_end_of_file || self.meter.last.get() == b'\n';
        end.line() - within as u64 - u64::from(is_terminated)
    }

    fn too_long(&self, line: u64, err: io::Error) -> Result<BadRow, ImportError> {
        if err.kind() != io::ErrorKind::FileTooLarge {
            return Err(ImportError::Read(self.path.clone(), err));
        }
        let problem = "is longer than 4 MiB: is there a quote that is never closed?".to_owned();
        Ok(BadRow {
            line,
            column: None,
            problem,
        })
    }
}

/// Why there is no header.
fn no_header(err: csv::Error, path: &Path) -> ImportError {
    let err = cause(err);
    if err.kind() == io::ErrorKind::FileTooLarge {
        ImportError::Lines(path.to_owned())
    } else {
        ImportError::Read(path.to_owned(), err)
    }
}

/// What went wrong below the reader of CSV.
fn cause(err: csv::Error) -> io::Error {
    match err.into_kind() {
        csv::ErrorKind::Io(err) => err,
        other => io::Error::other(format!("{other:?}")),
    }
}

fn layout(header: &ByteRecord, path: &Path) -> Result<Layout, ImportError> {
    if header.is_empty() {
        return Err(ImportError::Empty(path.to_owned()));
    }
    if header.iter().any(|name| name.trim_ascii().contains(&b'\r')) {
        return Err(ImportError::Lines(path.to_owned()));
    }
    Layout::of(header).map_err(|problem| match problem {
        HeaderProblem::Missing(names) => ImportError::MissingColumns(path.to_owned(), names),
        HeaderProblem::Repeated(name) => ImportError::RepeatedColumn(path.to_owned(), name),
    })
}

/// What is known of the bytes that were taken from the file.
#[derive(Default)]
struct Meter {
    taken: Cell<u64>,
    last: Cell<u8>,
    /// How many may be taken; it moves on with each row.
    limit: Cell<u64>,
}

/// A file that is read up to a limit.
struct Bounded {
    file: File,
    meter: Rc<Meter>,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let taken = self.meter.taken.get();
        if taken > self.meter.limit.get() {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let read = self.file.read(buffer)?;
        self.meter.taken.set(taken + read as u64);
        if let Some(last) = buffer[..read].last() {
            self.meter.last.set(*last);
        }
        Ok(read)
    }
}

impl Seek for Bounded {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = self.file.seek(to)?;
        self.meter.taken.set(at);
        Ok(at)
    }
}
