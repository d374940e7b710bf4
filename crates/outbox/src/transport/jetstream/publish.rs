//! The publisher: copies the log into a stream, event by event, each chained to the one before.
//!
//! A message is accepted only behind the message that precedes it in the log. So any number of
//! publishers may race, and one that was frozen for an hour can do no harm when it wakes: the one
//! thing it can add is the right next event. Whatever goes wrong, the remedy is the same: read the
//! stream's tail again and go on after it. Nothing is open in the database while the network is
//! waited for.
//!
//! Owns `outbox.stream`. Only the publisher writes it.

use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use async_nats::jetstream::context::{CreateStreamError, PublishError as Rejected};
use async_nats::jetstream::stream::{RawMessageError, RawMessageErrorKind, Stream};
use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::JetStream;
use super::headers::{self, Place};
use crate::append::Outbox;
use crate::event::{Event, Lane, LogPoint};
use crate::failpoint;
use crate::mutant::{self, Mutant};
use crate::supervise::{SILENCE, StepLimit, pause};
use crate::transport::postgres::{self, Page};

/// How many events are sent before their answers are waited for.
const PIPELINE: i64 = 1_000;
/// A wake-up would save a few milliseconds of an event that goes over the network anyway.
const POLL: Duration = Duration::from_millis(10);
/// How often the stream itself is looked at while nothing is to be published.
const LOOK: Duration = Duration::from_secs(5);
const AFTER_ERROR: Duration = Duration::from_millis(500);

/// Why a step of the publisher failed; the next begins at the stream's tail.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The database's.
    #[error("the log could not be read")]
    Database(#[from] sqlx::Error),
    /// The stream is not there and could not be made.
    #[error("the stream could not be opened; does the NATS server run, with JetStream?")]
    Stream(#[from] CreateStreamError),
    /// The tail of the stream could not be read.
    #[error("the stream's tail could not be read")]
    Tail(#[from] RawMessageError),
    /// The state of the stream could not be read.
    #[error("the stream's state could not be read")]
    State(#[from] async_nats::jetstream::stream::InfoError),
    /// Another publisher was quicker, or the stream has changed.
    #[error("the stream took no message")]
    Rejected(#[from] Rejected),
    /// The server knows the event's id and did not store it.
    #[error("the stream dropped a message as a duplicate")]
    Duplicate,
    /// The log was restored to an earlier instant than the stream.
    #[error(
        "stream {0} is ahead of the log, which may have been restored: delete the stream, and it \
         is filled again"
    )]
    Ahead(String),
}

/// What is chained to.
#[derive(Debug, Clone, Copy)]
struct Tail {
    /// Up to here the log was looked through.
    scanned: LogPoint,
    /// The newest event of the lane in the stream, or from where an empty one is filled.
    before: LogPoint,
    expect: Expect,
}

#[derive(Debug, Clone, Copy)]
enum Expect {
    /// After a look at the tail: its sequence, and its id if it is ours. The sequence alone would
    /// do harm in a stream that was made anew meanwhile.
    Sequence(u64, Option<Uuid>),
    /// After a message of our own.
    Id(Uuid),
}

/// Publishes the ticks of a log to the stream of a lane.
#[derive(Debug)]
pub struct Publisher {
    outbox: Outbox,
    streams: JetStream,
    lane: Lane,
    tail: Option<Tail>,
    /// When the stream itself was last looked at.
    looked: Instant,
}

impl Publisher {
    /// A publisher that has not looked at the stream yet.
    #[must_use]
    pub fn new(outbox: Outbox, streams: JetStream, lane: Lane) -> Self {
        Self {
            outbox,
            streams,
            lane,
            tail: None,
            looked: Instant::now(),
        }
    }

    /// Publishes until `shutdown`; trouble is waited out.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut trouble: Option<String> = None;
        let mut limit = StepLimit::of(SILENCE);
        while !shutdown.is_cancelled() {
            let wait = match limit.on(&shutdown, self.step()).await {
                Ok(0) => POLL,
                Ok(_) => {
                    trouble = None;
                    continue;
                }
                Err(error) => {
                    // Another trouble than the last one is news, though nothing came between.
                    let told = error.to_string();
                    self.report(&error, trouble.as_ref() == Some(&told));
                    trouble = Some(told);
                    AFTER_ERROR
                }
            };
            pause(&shutdown, wait).await;
        }
    }

    fn report(&self, error: &PublishError, is_known: bool) {
        let stream = self.streams.stream(self.lane);
        if is_known {
            tracing::debug!(error = ?error, stream, "Stream {stream} still waits: {error}");
        } else {
            tracing::warn!(error = ?error, stream, "Stream {stream} waits: {error}");
        }
    }

    /// One step: publishes a page of the log, and says how many events it held.
    ///
    /// # Errors
    /// Any; the next step begins with a look at the stream's tail.
    pub async fn step(&mut self) -> Result<usize, PublishError> {
        let tail = match self.tail.take() {
            Some(tail) => tail,
            None => self.resync().await?,
        };
        let Some(page) = self.page(tail.scanned).await? else {
            self.look_again(tail).await?;
            return Ok(0);
        };
        if page.events.is_empty() {
            let scanned = page.to;
            self.tail = Some(Tail { scanned, ..tail });
            return Ok(1);
        }
        self.note(page.to).await?;
        failpoint!("stream.noted")?;
        self.tail = Some(self.publish(&page, tail).await?);
        failpoint!("stream.acked")?;
        self.outbox.waker().wake_workers();
        Ok(page.events.len())
    }

    /// Where nothing is to be published, nobody would be told that the stream has lost its
    /// messages: it is looked at now and then, and filled in again.
    async fn look_again(&mut self, known: Tail) -> Result<(), PublishError> {
        if self.looked.elapsed() < LOOK {
            self.tail = Some(known);
            return Ok(());
        }
        let found = self.resync().await?;
        self.looked = Instant::now();
        self.tail = Some(match found.before == known.before {
            true => Tail {
                scanned: known.scanned,
                ..found
            },
            false => found,
        });
        Ok(())
    }

    async fn page(&self, after: LogPoint) -> Result<Option<Page>, sqlx::Error> {
        let mut conn = self.outbox.pool().acquire().await?;
        postgres::read(&mut conn, self.lane, after, PIPELINE).await
    }

    async fn publish(&self, page: &Page, tail: Tail) -> Result<Tail, PublishError> {
        let mut tail = Tail {
            scanned: page.to,
            ..tail
        };
        let mut answers = Vec::with_capacity(page.events.len());
        for event in &page.events {
            let place = Place {
                point: event.point,
                before: tail.before,
                cut_at: page.cut_at(event.point),
            };
            let headers = self.chained(event, place, tail.expect);
            let subject = self.streams.subject(self.lane, event.part);
            let payload = Bytes::copy_from_slice(event.payload.json().get().as_bytes());
            let context = &self.streams.context;
            answers.push(
                context
                    .publish_with_headers(subject, headers, payload)
                    .await?,
            );
            tail.before = event.point;
            tail.expect = Expect::Id(event.event_id);
        }
        failpoint!("stream.published")?;
        for answer in answers {
            if answer.await?.duplicate {
                return Err(PublishError::Duplicate);
            }
        }
        Ok(tail)
    }

    fn chained(&self, event: &Event, place: Place, expect: Expect) -> HeaderMap {
        let mut map = headers::of(event, place, &self.streams.source);
        map.insert("Nats-Msg-Id", event.event_id.to_string().as_str());
        map.insert(
            "Nats-Expected-Stream",
            self.streams.stream(self.lane).as_str(),
        );
        let id = match expect {
            Expect::Sequence(sequence, id) => {
                map.insert("Nats-Expected-Last-Sequence", sequence.to_string().as_str());
                id
            }
            Expect::Id(id) => Some(id),
        };
        if let Some(id) = id {
            map.insert("Nats-Expected-Last-Msg-Id", id.to_string().as_str());
        }
        map
    }

    /// Reads the stream's tail, of the leader: a replica may be behind.
    async fn resync(&self) -> Result<Tail, PublishError> {
        let stream = self.streams.ensure(self.lane).await?;
        failpoint!("stream.resync")?;
        let state = stream.get_info().await?.state;
        let found = if state.messages == 0 {
            None
        } else {
            self.last_of_ours(&stream, state.first_sequence, state.last_sequence)
                .await?
        };
        let Some((sequence, id, place)) = found else {
            return self.refill(state.last_sequence).await;
        };
        let point = place.point;
        if !self.is_of_this_log(place).await? {
            return Err(PublishError::Ahead(self.streams.stream(self.lane)));
        }
        let known = (sequence == state.last_sequence).then_some(id);
        Ok(Tail {
            scanned: point,
            before: point,
            expect: Expect::Sequence(state.last_sequence, known),
        })
    }

    /// Whoever may publish here can publish anything; only what has a place is ours.
    async fn last_of_ours(
        &self,
        stream: &Stream,
        first: u64,
        last: u64,
    ) -> Result<Option<(u64, Uuid, Place)>, PublishError> {
        for sequence in (first..=last).rev() {
            let message = match stream.get_raw_message(sequence).await {
                Ok(message) => message,
                Err(error) if matches!(error.kind(), RawMessageErrorKind::NoMessageFound) => {
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let event = headers::event(&message.headers, self.lane, &message.payload);
            if let (Some(event), Some(place)) = (event, headers::place(&message.headers)) {
                return Ok(Some((sequence, event.event_id, place)));
            }
            tracing::warn!(
                sequence,
                subject = message.subject.as_str(),
                "A message in stream {} is not of the relay and is passed over; who else may \
                 publish there?",
                self.streams.stream(self.lane)
            );
        }
        Ok(None)
    }

    /// From where an empty stream is filled: the position that is farthest behind. Readers find
    /// what lies before in the database.
    async fn refill(&self, last_sequence: u64) -> Result<Tail, PublishError> {
        failpoint!("stream.refill")?;
        let stream = self.streams.stream(self.lane);
        let start = sqlx::query!(
            r#"
            -- stream: where an empty one begins
            select newest.tick, newest.id,
                (select tick from outbox.stream where stream = $2) as filled
            from outbox.consumer
            cross join generate_series(0, shards - 1) as number
            cross join lateral (
                select tick, id
                from outbox.position
                where position.consumer = consumer.consumer
                    and generation = consumer.generation and lane = $1 and shard = number
                order by n desc
                limit 1
            ) as newest
            order by newest.tick, newest.id
            limit 1
            "#,
            self.lane.code(),
            stream,
        )
        .fetch_optional(self.outbox.pool())
        .await?;
        if start.as_ref().is_some_and(|row| row.filled.is_some()) {
            tracing::warn!(
                stream,
                "Stream {stream} has lost its messages; they are filled in from the log"
            );
        }
        let point = start.map_or_else(LogPoint::default, |row| LogPoint {
            tick: row.tick,
            id: row.id,
        });
        Ok(Tail {
            scanned: point,
            before: point,
            expect: Expect::Sequence(last_sequence, None),
        })
    }

    /// Whether the log has the tick of a message, or had it before it was pruned. A log that was
    /// restored to an earlier instant counts up to the same numbers again, at other times.
    async fn is_of_this_log(&self, place: Place) -> Result<bool, sqlx::Error> {
        let row = sqlx::query!(
            r#"
            -- stream: whether the log has a tick
            select max(n) as newest, (select at from outbox.tick where n = $1) as "at?"
            from outbox.tick
            "#,
            place.point.tick,
        )
        .fetch_one(self.outbox.pool())
        .await?;
        let is_known = row.newest.is_some_and(|newest| place.point.tick <= newest);
        Ok(is_known && row.at.is_none_or(|at| at == place.cut_at))
    }

    /// Written durably, whatever the session's setting: the log's ticks may have been committed
    /// without waiting for the disk, and what comes before in the write-ahead log is durable too.
    async fn note(&self, to: LogPoint) -> Result<(), sqlx::Error> {
        let durable = "begin; set local synchronous_commit = on";
        let lost = "begin; set local synchronous_commit = off";
        let begin = mutant::either(Mutant::TickNotDurable, lost, durable);
        let mut tx = crate::append::begin(self.outbox.pool(), begin).await?;
        sqlx::query!(
            "
            -- stream: note what may be published
            insert into outbox.stream (stream, lane, tick, id)
            values ($1, $2, $3, $4)
            on conflict (stream) do update
            set tick = excluded.tick, id = excluded.id, at = excluded.at
            ",
            self.streams.stream(self.lane),
            self.lane.code(),
            to.tick,
            to.id,
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await
    }
}
