//! The log read from a stream, a page at a time.
//!
//! The place is found by bisecting, and checked: a message says which event precedes it, so one
//! that does not follow the reader's point is a hole. What the stream does not hold any more, or
//! not yet from its beginning, is read from the database. Nothing is acknowledged and the server
//! keeps nothing about its readers.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::{HeaderMap, Message};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::StreamExt;
use sqlx::PgPool;
use tokio::sync::Mutex;

use super::JetStream;
use super::headers::{self, Place};
use crate::event::{Event, Lane, LogPoint};
use crate::transport::postgres::{self, Page};

/// How many messages are asked for at once.
const PAGE: usize = 500;
/// How many pages are kept for the other consumers of this process.
const KEPT: usize = 8;
/// How long an answer of the server is waited for.
const ANSWER: Duration = Duration::from_secs(5);
/// A stream that has nothing new is looked at as a whole this often: it may have been made anew.
const LOOK: Duration = Duration::from_secs(1);
/// Trouble is reported once in this time.
const REPORT: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("NATS does not answer")]
    Silent,
    #[error("NATS refuses to read the stream: {0}")]
    Refused(String),
    #[error("the NATS client failed: {0}")]
    Client(String),
    #[error("the stream is not there yet: {0}")]
    NoStream(String),
    #[error("the stream does not agree with the log, which may have been restored: delete it")]
    Diverged,
    #[error("the log could not be read")]
    Database(#[from] sqlx::Error),
}

/// A message at its place in the stream.
struct Placed {
    sequence: u64,
    place: Place,
    event: Event,
}

#[derive(Debug, Default)]
struct LaneState {
    pages: VecDeque<Arc<Page>>,
    /// After this point the stream goes on at this sequence.
    next: HashMap<LogPoint, u64>,
    looked: Option<Instant>,
    reported: Option<Instant>,
}

/// Reads streams for all consumers of a process.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    streams: JetStream,
    pool: PgPool,
    log: postgres::Reader,
    lanes: Arc<[Mutex<LaneState>; 2]>,
}

impl Reader {
    pub(crate) fn new(streams: JetStream, pool: PgPool, log: postgres::Reader) -> Self {
        Self {
            streams,
            pool,
            log,
            lanes: Arc::default(),
        }
    }

    pub(crate) async fn page(
        &self,
        lane: Lane,
        after: LogPoint,
        topics: &[String],
    ) -> Result<Option<Arc<Page>>, sqlx::Error> {
        let mut state = self.lanes[usize::from(lane == Lane::Bulk)].lock().await;
        if let Some(page) = state.pages.iter().find(|page| page.follows(after)) {
            return Ok(Some(Arc::clone(page)));
        }
        let read = match self.read(&mut state, lane, after).await {
            Err(Trouble::Database(error)) => return Err(error),
            Err(trouble) => {
                if state.reported.is_none_or(|at| at.elapsed() > REPORT) {
                    state.reported = Some(Instant::now());
                    let stream = self.streams.stream(lane);
                    tracing::warn!(stream, "Consumers wait for stream {stream}: {trouble}");
                }
                return Ok(None);
            }
            Ok(read) => read,
        };
        match read {
            Found::Nothing => Ok(None),
            Found::BeforeTheStream => {
                drop(state);
                self.log.page(lane, after, topics).await
            }
            Found::Page(page) => {
                let page = Arc::new(page);
                state.pages.push_back(Arc::clone(&page));
                if state.pages.len() > KEPT {
                    state.pages.pop_front();
                }
                Ok(Some(page))
            }
        }
    }

    pub(crate) async fn forget(&self) {
        for lane in self.lanes.iter() {
            *lane.lock().await = LaneState::default();
        }
        self.log.forget().await;
    }

    async fn read(
        &self,
        state: &mut LaneState,
        lane: Lane,
        after: LogPoint,
    ) -> Result<Found, Trouble> {
        if let Some(sequence) = state.next.get(&after).copied() {
            let messages = self.messages(lane, sequence, PAGE).await?;
            if messages.first().is_some_and(|first| first.follows(after)) {
                return self.paged(state, after, messages).await;
            }
            let is_quiet = messages.is_empty();
            if is_quiet && state.looked.is_some_and(|at| at.elapsed() < LOOK) {
                return Ok(Found::Nothing);
            }
        }
        state.looked = Some(Instant::now());
        let Some(sequence) = self.bisect(lane, after).await? else {
            return Ok(Found::Nothing);
        };
        let messages = self.messages(lane, sequence, PAGE).await?;
        match messages.first() {
            None => Ok(Found::Nothing),
            Some(first) if first.follows(after) => self.paged(state, after, messages).await,
            Some(_) => Ok(Found::BeforeTheStream),
        }
    }

    /// The messages up to a hole, as far as the log agrees with them.
    async fn paged(
        &self,
        state: &mut LaneState,
        after: LogPoint,
        mut messages: Vec<Placed>,
    ) -> Result<Found, Trouble> {
        let whole = messages
            .windows(2)
            .take_while(|pair| pair[1].place.before == pair[0].place.point)
            .count();
        messages.truncate(whole + 1);
        let mut numbers: Vec<i64> = messages.iter().map(|m| m.place.point.tick).collect();
        numbers.push(after.tick);
        let ticks = self.ticks(&numbers).await?;
        let agrees = |message: &Placed| {
            let tick = ticks.binary_search_by_key(&message.place.point.tick, |(n, _)| *n);
            tick.is_ok_and(|at| ticks[at].1 == message.place.cut_at)
        };
        if !messages.iter().all(agrees) {
            return Err(Trouble::Diverged);
        }
        let last = messages.last().ok_or(Trouble::Diverged)?;
        let to = last.place.point;
        // Consumers are at a few places at a time.
        if state.next.len() > 64 {
            state.next.clear();
        }
        state.next.insert(to, last.sequence + 1);
        let mut events: Vec<Event> = messages.into_iter().map(|m| m.event).collect();
        events.retain(|event| after < event.point);
        Ok(Found::Page(Page::of(after, to, ticks, events)))
    }

    async fn ticks(&self, numbers: &[i64]) -> Result<Vec<(i64, DateTime<Utc>)>, sqlx::Error> {
        let rows = sqlx::query!(
            "
            -- stream: when its ticks were cut
            select n, at from outbox.tick where n = any ($1) order by n
            ",
            numbers,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(|row| (row.n, row.at)).collect())
    }

    /// The sequence of the first message after a point.
    async fn bisect(&self, lane: Lane, after: LogPoint) -> Result<Option<u64>, Trouble> {
        let stream = self.streams.existing(lane).await;
        let state = stream
            .map_err(|error| Trouble::NoStream(error.to_string()))?
            .cached_info()
            .state
            .clone();
        let (mut low, mut high) = (state.first_sequence, state.last_sequence + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.first_from(lane, middle).await? {
                Some(message) if message.place.point <= after => low = message.sequence + 1,
                _ => high = middle,
            }
        }
        Ok((low <= state.last_sequence).then_some(low))
    }

    async fn first_from(&self, lane: Lane, sequence: u64) -> Result<Option<Placed>, Trouble> {
        let mut from = sequence;
        loop {
            let (messages, last) = self.batch(lane, from, 1).await?;
            match (messages.into_iter().next(), last) {
                (Some(message), _) => return Ok(Some(message)),
                (None, Some(last)) => from = last + 1,
                (None, None) => return Ok(None),
            }
        }
    }

    /// Messages of ours from a sequence on; foreign ones are passed over.
    async fn messages(
        &self,
        lane: Lane,
        sequence: u64,
        size: usize,
    ) -> Result<Vec<Placed>, Trouble> {
        let mut from = sequence;
        loop {
            let (messages, last) = self.batch(lane, from, size).await?;
            match last {
                Some(last) if messages.is_empty() => from = last + 1,
                _ => return Ok(messages),
            }
        }
    }

    /// One request for several messages, and the sequence of the last, be it ours or not.
    async fn batch(
        &self,
        lane: Lane,
        sequence: u64,
        size: usize,
    ) -> Result<(Vec<Placed>, Option<u64>), Trouble> {
        let client = self.streams.context.client();
        let inbox = client.new_inbox();
        let failed = |error: &dyn std::fmt::Display| Trouble::Client(error.to_string());
        let mut answers = (client.subscribe(inbox.clone()).await).map_err(|e| failed(&e))?;
        let ask = serde_json::json!({
            "seq": sequence, "batch": size, "next_by_subj": self.streams.subject(lane, ">"),
        });
        let subject = format!("$JS.API.DIRECT.GET.{}", self.streams.stream(lane));
        let ask = Bytes::from(ask.to_string());
        (client.publish_with_reply(subject, inbox, ask).await).map_err(|e| failed(&e))?;
        let (mut messages, mut last) = (Vec::new(), None);
        loop {
            let next = tokio::time::timeout(ANSWER, answers.next()).await;
            let answer = next.ok().flatten().ok_or(Trouble::Silent)?;
            match answer.status.map(|status| status.as_u16()) {
                None => {}
                // The end of the batch; nothing there.
                Some(204 | 404) => return Ok((messages, last)),
                Some(503) => return Err(Trouble::NoStream("no responders".to_owned())),
                Some(code) => return Err(Trouble::Refused(refusal(code, &answer))),
            }
            let headers = answer.headers.unwrap_or_else(HeaderMap::new);
            let Some(sequence) = sequence_of(&headers) else {
                return Err(Trouble::Refused("an answer without a sequence".to_owned()));
            };
            last = Some(sequence);
            let place = headers::place(&headers);
            let event = headers::event(&headers, lane, &answer.payload);
            if let (Some(place), Some(event)) = (place, event) {
                messages.push(Placed {
                    sequence,
                    place,
                    event,
                });
            }
        }
    }
}

enum Found {
    /// The stream ends here.
    Nothing,
    /// The stream begins later: the database has it.
    BeforeTheStream,
    Page(Page),
}

impl Placed {
    /// Whether nothing lies between a point and this.
    fn follows(&self, point: LogPoint) -> bool {
        self.place.before <= point && point < self.place.point
    }
}

fn refusal(code: u16, answer: &Message) -> String {
    let description = answer.description.as_deref().unwrap_or("no reason given");
    format!("{code} {description}")
}

fn sequence_of(headers: &HeaderMap) -> Option<u64> {
    headers.get("Nats-Sequence")?.as_str().parse().ok()
}
