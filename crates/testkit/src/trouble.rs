//! Trouble: what a network does to the connections of a link.

use std::fmt::{self, Display, Formatter};

/// What is done to them, as long as it lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Each piece is late by so many milliseconds.
    Latency(u64),
    /// So many KiB pass in a second.
    Bandwidth(u64),
    /// One byte at a time passes.
    Slices,
    /// Nothing passes; when it is over all of it does, late.
    Held,
    /// Nothing passes; when it is over the connections are reset.
    Timeout,
    /// Nothing passes any more, and neither side is told: these connections stay dead though it is
    /// over.
    BlackHole,
    /// Nobody is there.
    Down,
    /// Connections are reset, once.
    Reset,
    /// That one side has closed is told late, by so many milliseconds.
    SlowClose(u64),
    /// Connections break after so many bytes of answers.
    Cut(u64),
    /// The next acknowledgement is swallowed, and its connection breaks: what was asked for has
    /// happened, and who asked does not know.
    LostAck,
}

impl Trouble {
    /// Its class, as the results count it.
    #[must_use]
    pub fn class(self) -> &'static str {
        match self {
            Self::Latency(_) => "latency",
            Self::Bandwidth(_) => "bandwidth",
            Self::Slices => "slices",
            Self::Held => "held",
            Self::Timeout => "timeout",
            Self::BlackHole => "black hole",
            Self::Down => "down",
            Self::Reset => "reset",
            Self::SlowClose(_) => "slow close",
            Self::Cut(_) => "cut",
            Self::LostAck => "lost ack",
        }
    }

    /// Whether nothing passes.
    pub(crate) fn blocks(self) -> bool {
        matches!(self, Self::Held | Self::Timeout | Self::BlackHole)
    }
}

impl Display for Trouble {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.write_str(self.class())?;
        match self {
            Self::Latency(millis) | Self::SlowClose(millis) => write!(out, " of {millis} ms"),
            Self::Bandwidth(kib) => write!(out, " of {kib} KiB/s"),
            Self::Cut(bytes) => write!(out, " after {bytes} bytes"),
            _ => Ok(()),
        }
    }
}

/// What acknowledges on a link: which bytes say that it has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ack {
    /// Postgres's answer to COMMIT.
    Commit,
    /// JetStream's answer to a message that was published.
    Published,
    /// Any answer, of HTTP: who answers has done it.
    Answer,
}

/// `CommandComplete`, its length, and what was completed.
const COMMITTED: &[u8] = b"C\0\0\0\x0bCOMMIT\0";

/// Under which number a stream keeps it.
const KEPT: &[u8] = b"\"seq\":";

impl Ack {
    /// How many bytes of the last piece may belong to one of the next.
    pub(crate) const TAIL: usize = COMMITTED.len() - 1;

    pub(crate) fn is_in(self, bytes: &[u8]) -> bool {
        match self {
            Self::Commit => bytes.windows(COMMITTED.len()).any(|part| part == COMMITTED),
            Self::Published => bytes.windows(KEPT.len()).any(|part| part == KEPT),
            Self::Answer => !bytes.is_empty(),
        }
    }
}
