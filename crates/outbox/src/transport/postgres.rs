//! The log read from Postgres itself, a page at a time.
//!
//! A page spans whole ticks as far as they fit, or a window of ids inside one giant tick. Ticks are
//! assigned in the client by binary search over the stored snapshots, so a reader that is far
//! behind needs one query per page and not one per tick.

use std::collections::VecDeque;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use tokio::sync::{Mutex, watch};

use crate::batch::SEALED;
use crate::event::{Event, Lane, LogPoint};
use crate::mutant::{self, Mutant};
use crate::tick::{self, Diff, Tick};
use crate::wake::Listener;
use crate::worker::Pulse;

mod fetch;

use fetch::{Wanted, Window, fetch};

/// How many ticks' snapshots are read for one page.
const TICKS: i64 = 256;
/// How many events of its lane a page spans at most, of all topics: a batch of some hundred for
/// each of eight shards.
const EVENTS: i64 = 4_000;
/// How many pages are kept for the other consumers of this process.
const KEPT: usize = 8;
/// A page of no more events than that is read for all consumers of this process: near its end they
/// read the log together. Farther back each goes at a pace of its own, and reads what it wants.
const TOGETHER: i64 = 200;

/// Consecutive events of a lane.
#[derive(Debug)]
pub struct Page {
    after: LogPoint,
    /// Where the page ends; the next begins after it.
    pub to: LogPoint,
    /// Number and instant of each tick of the page and of the one before.
    ticks: Vec<(i64, DateTime<Utc>)>,
    /// The events of the topics asked for, in the log's order.
    pub events: Vec<Event>,
    /// Where batches were sealed: those among the events.
    pub(crate) seals: Vec<LogPoint>,
    /// Whether the log went on for longer than is read together: its reader is far behind, and
    /// will want the next one.
    pub(crate) is_far_back: bool,
}

impl Page {
    /// Whether it holds what comes next after a point.
    pub(crate) fn follows(&self, point: LogPoint) -> bool {
        self.after <= point && point < self.to
    }

    /// When the tick of a point of this page, or just before it, was cut.
    pub(crate) fn cut_at(&self, point: LogPoint) -> DateTime<Utc> {
        let known = self.known_cut(point);
        known.expect("a page holds the ticks of its points")
    }

    /// The same; nothing for a tick without an event on a page of a stream.
    pub(crate) fn known_cut(&self, point: LogPoint) -> Option<DateTime<Utc>> {
        let found = self.ticks.binary_search_by_key(&point.tick, |(n, _)| *n);
        found.ok().map(|at| self.ticks[at].1)
    }

    /// A page that came another way.
    #[cfg(feature = "nats")]
    pub(crate) fn of(
        after: LogPoint,
        to: LogPoint,
        ticks: Vec<(i64, DateTime<Utc>)>,
        events: Vec<Event>,
    ) -> Self {
        Self {
            after,
            to,
            ticks,
            seals: seals(&events),
            events,
            is_far_back: false,
        }
    }
}

fn seals(events: &[Event]) -> Vec<LogPoint> {
    let seals = events.iter().filter(|event| event.topic == SEALED);
    seals.map(|event| event.point).collect()
}

/// Reads the log for all consumers of a process; near its tail each page is read once.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    pool: PgPool,
    /// Those of all consumers of this process: nobody here wants the others' events.
    topics: Arc<[String]>,
    lanes: Arc<[Mutex<Near>; 2]>,
    listener: Listener,
    pulse: watch::Receiver<Pulse>,
}

/// What is known of a lane near its end.
#[derive(Debug, Default)]
struct Near {
    pages: VecDeque<Arc<Page>>,
    /// Where the log ended, and what had been heard of it before it was asked.
    end: Option<(LogPoint, Heard)>,
}

/// How many wake-ups, and the newest tick of the pulse: should a wake-up be lost.
type Heard = (u64, Option<(i64, DateTime<Utc>)>);

impl Reader {
    pub(crate) fn new(
        pool: PgPool,
        topics: impl IntoIterator<Item = String>,
        (listener, pulse): (Listener, watch::Receiver<Pulse>),
    ) -> Self {
        Self {
            pool,
            topics: topics.into_iter().collect(),
            lanes: Arc::default(),
            listener,
            pulse,
        }
    }

    /// The page that holds what comes next after a point, or nothing when the log ends there. It
    /// may begin earlier: the reader skips what is at or before its point.
    /// Of other topics than those asked for it holds any or none.
    pub(crate) async fn page(
        &self,
        lane: Lane,
        after: LogPoint,
        topics: &[String],
    ) -> Result<Option<Arc<Page>>, sqlx::Error> {
        let mut near = self.lanes[usize::from(lane == Lane::Bulk)].lock().await;
        if let Some(page) = near.pages.iter().find(|page| page.follows(after)) {
            return Ok(Some(Arc::clone(page)));
        }
        let heard = (self.listener.heard(), self.pulse.borrow().newest);
        if near.end == Some((after, heard)) {
            return Ok(None);
        }
        let mut conn = self.pool.acquire().await?;
        let ticks = ticks(&mut conn, after, Some(topics)).await?;
        let Some(span) = Span::after(&ticks, (lane, None), after, EVENTS) else {
            near.end = Some((after, heard));
            return Ok(None);
        };
        if span.events() > TOGETHER {
            drop(near);
            let wanted = (lane, Some(topics));
            let span = Span::after(&ticks, wanted, after, EVENTS).unwrap_or(span);
            let mut page = span.read(&mut conn, wanted, after).await?;
            page.is_far_back = true;
            return Ok(Some(Arc::new(page)));
        }
        let together = (lane, Some(&*self.topics));
        let page = span.read(&mut conn, together, after).await?;
        let page = Arc::new(page);
        near.pages.push_back(Arc::clone(&page));
        if near.pages.len() > KEPT {
            near.pages.pop_front();
        }
        Ok(Some(page))
    }

    /// Forgets all pages: the ticks they name may be gone.
    pub(crate) async fn forget(&self) {
        for lane in self.lanes.iter() {
            *lane.lock().await = Near::default();
        }
    }
}

/// Reads what follows a point, or nothing when the log ends there: about `size` events of `lane`.
/// What is read never depends on how it is cut into pages.
///
/// # Errors
/// The database's.
pub async fn read(
    conn: &mut PgConnection,
    lane: Lane,
    after: LogPoint,
    size: i64,
) -> Result<Option<Page>, sqlx::Error> {
    read_some(conn, (lane, None), after, size).await
}

/// The same, of certain topics.
pub(crate) async fn read_some(
    conn: &mut PgConnection,
    wanted: Wanted<'_>,
    after: LogPoint,
    size: i64,
) -> Result<Option<Page>, sqlx::Error> {
    let ticks = ticks(conn, after, wanted.1).await?;
    match Span::after(&ticks, wanted, after, size) {
        Some(span) => span.read(conn, wanted, after).await.map(Some),
        None => Ok(None),
    }
}

/// The first is the lower bound; a point in the middle of a tick needs the one before it.
async fn ticks(
    conn: &mut PgConnection,
    after: LogPoint,
    topics: Option<&[String]>,
) -> Result<Vec<Tick>, sqlx::Error> {
    tick::from(conn, (after.tick - 1).max(0), TICKS, topics).await
}

/// How many events of a tick a reader has to look at: those of its lane, unless none is wanted.
fn events_of(tick: &Tick, (lane, topics): Wanted<'_>) -> i64 {
    match topics {
        Some(_) if !tick.is_wanted => 0,
        _ => tick.of(lane),
    }
}

/// Which ticks a page covers, and up to which id.
struct Span<'a> {
    /// What decides which ticks are gone past.
    wanted: Wanted<'a>,
    /// Those gone past, of which the last is the lower bound, before those that are read.
    ticks: &'a [Tick],
    passed: usize,
    above_id: i64,
    to: LogPoint,
    /// Whether it is a part of one giant tick.
    is_inside: bool,
}

impl<'a> Span<'a> {
    /// Ticks without a wanted topic are gone past: read with the others, all they hold would be
    /// looked through.
    fn after(ticks: &'a [Tick], wanted: Wanted<'a>, after: LogPoint, size: i64) -> Option<Self> {
        let here = ticks.iter().position(|tick| tick.n == after.tick)?;
        // What is above the old chain's ids and what lies below are told apart in different ways.
        let is_whole = |tick: &Tick| events_of(tick, wanted) <= size && tick.base.is_none();
        if after.id < ticks[here].max_id {
            let rest = Self::of(wanted, &ticks[here.checked_sub(1)?..=here], 1);
            return Some(match is_whole(&ticks[here]) {
                true => Self {
                    above_id: after.id,
                    ..rest
                },
                false => rest.inside(after.id, size),
            });
        }
        let ticks = &ticks[here..];
        let ahead = ticks[1..].iter();
        let passed = ahead
            .take_while(|tick| events_of(tick, wanted) == 0)
            .count();
        let unread = &ticks[1 + passed..];
        let mut sum = 0;
        let fit = unread.iter().take_while(|tick| {
            sum += tick.of(wanted.0);
            sum <= size && is_whole(tick)
        });
        match (unread.len(), fit.count()) {
            (0, _) => (passed > 0).then(|| Self::of(wanted, ticks, passed)),
            (_, 0) => {
                let (lower, giant) = (&ticks[passed], &ticks[passed + 1]);
                // The floor lags a tick: from it on, the tick before would be looked through too.
                let below = giant.min_id.map_or(lower.floor, |first| first - 1);
                Some(Self::of(wanted, &ticks[..passed + 2], passed + 1).inside(below, size))
            }
            (_, n) => Some(Self::of(wanted, &ticks[..=passed + n], passed + 1)),
        }
    }

    /// Ticks to their ends, the first `passed` of them gone past.
    fn of(wanted: Wanted<'a>, ticks: &'a [Tick], passed: usize) -> Self {
        let last = &ticks[ticks.len() - 1];
        Self {
            wanted,
            ticks,
            passed,
            above_id: ticks[passed - 1].floor,
            to: LogPoint {
                tick: last.n,
                id: last.max_id,
            },
            is_inside: false,
        }
    }

    /// So many ids of the one tick that it reads.
    fn inside(self, above_id: i64, size: i64) -> Self {
        let giant = &self.ticks[self.passed];
        let end = giant.base.filter(|base| above_id < *base);
        let id = end.unwrap_or(giant.max_id).min(above_id + size);
        Self {
            above_id,
            to: LogPoint { tick: giant.n, id },
            is_inside: true,
            ..self
        }
    }

    fn lower(&self) -> &Tick {
        &self.ticks[self.passed - 1]
    }

    fn read_ticks(&self) -> &[Tick] {
        &self.ticks[self.passed..]
    }

    /// How many there are to look at.
    fn events(&self) -> i64 {
        let ticks = self.read_ticks().iter();
        ticks.map(|tick| events_of(tick, self.wanted)).sum()
    }

    async fn read(
        self,
        conn: &mut PgConnection,
        wanted: Wanted<'_>,
        after: LogPoint,
    ) -> Result<Page, sqlx::Error> {
        let tick_of = |xid| self.tick_of(xid);
        let mut events = match self.events() {
            0 => Vec::new(),
            _ => fetch(conn, wanted, &self.diff(), self.window(), tick_of).await?,
        };
        events.retain(|event| after < event.point);
        events.sort_unstable_by_key(|event| event.point);
        let ticks = self.ticks.iter().map(|tick| (tick.n, tick.at)).collect();
        Ok(Page {
            after,
            to: self.to,
            ticks,
            seals: seals(&events),
            events,
            is_far_back: false,
        })
    }

    /// The first tick of a chain is read alone. Its ids are all ids up to its highest, since it was
    /// cut while nobody could append.
    fn diff(&self) -> Diff {
        let upper = &self.ticks[self.ticks.len() - 1];
        let base = upper
            .base
            .filter(|_| !mutant::is(Mutant::ForeignIdsTrusted));
        match base {
            None => Diff::between(&self.lower().snapshot, &upper.snapshot),
            Some(base) if self.above_id < base => Diff::beyond(&self.lower().snapshot),
            Some(_) => Diff::all(),
        }
    }

    /// A page of whole ticks ends with its highest id.
    fn window(&self) -> Window {
        let highest = self.read_ticks().iter().map(|tick| tick.max_id).max();
        let last = if self.is_inside { None } else { highest };
        Window {
            above: self.above_id,
            up_to: last.unwrap_or(self.to.id),
            is_inside: self.is_inside,
        }
    }

    fn tick_of(&self, xid: u64) -> i64 {
        let ticks = self.read_ticks();
        let at = ticks.partition_point(|tick| !tick.snapshot.sees(xid));
        ticks.get(at).map_or(self.to.tick, |tick| tick.n)
    }
}
