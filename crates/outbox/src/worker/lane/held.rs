//! A shard that this process works on: where it stands, and how far the log has been read for it.

use std::time::Instant;

use chrono::{DateTime, Utc};

use crate::event::LogPoint;
use crate::position::Cursor;
use crate::transport::postgres::Page;

/// A shard in this process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    pub(super) cursor: Cursor,
    /// How far it has been read: at or after the cursor.
    pub(super) scanned: LogPoint,
    /// When the tick of `scanned` was cut, once it is beyond the cursor. A crash of the server may
    /// lose that tick, and another is cut under its number.
    pub(super) cut_at: Option<DateTime<Utc>>,
    pub(super) written: Instant,
}

impl Held {
    pub(super) fn fresh(cursor: Cursor) -> Self {
        Self {
            cursor,
            scanned: cursor.at,
            cut_at: None,
            written: Instant::now(),
        }
    }

    pub(super) fn pass(&mut self, page: &Page, to: LogPoint) {
        if self.scanned < to {
            self.scanned = to;
            self.cut_at = Some(page.cut_at(to));
        }
    }

    /// Whether what we have passed in memory is no longer what the log says. What is written needs
    /// no such question: a tick is durable before a position that names it.
    pub(super) fn contradicts(&self, page: &Page) -> bool {
        let inside = self.scanned < page.to && self.cursor.at < self.scanned;
        inside
            && self.cut_at.is_some_and(|cut_at| {
                let known = page.known_cut(self.scanned);
                known.is_some_and(|known| known != cut_at)
            })
    }
}
