//! Following the log, as `tail -f` follows a file.

use std::io::{self, ErrorKind, Write as _};
use std::time::Duration;

use anyhow::Result;
use chrono::{DateTime, Utc};
use outbox::{Event, Lane, Tail};
use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::PgPool;
use tokio::time::timeout;
use uuid::Uuid;

use crate::command::Follow;
use crate::run::Signals;

/// How often the log is asked when nothing happens.
const POLL: Duration = Duration::from_millis(100);

/// Prints events until it is interrupted, or until nobody reads on.
pub(crate) async fn follow(pool: &PgPool, follow: Follow) -> Result<()> {
    let tail = Tail::from(pool.clone(), follow.place.start()).await?;
    let mut tail = tail.of_topics(follow.topics).of_key(follow.key);
    let mut signals = Signals::listen()?;
    loop {
        match tail.next().await? {
            Some(events) => match print(&events, follow.json) {
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
                printed => printed?,
            },
            None => {
                if timeout(POLL, signals.next()).await.is_ok() {
                    return Ok(());
                }
            }
        }
    }
}

fn print(events: &[Event], json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for event in events {
        match json {
            true => {
                serde_json::to_writer(&mut out, &Line::of(event))?;
                writeln!(out)?;
            }
            false => writeln!(
                out,
                "{}  {:>10}  {:<28}  key {}  by {}  {}",
                event.at.format("%Y-%m-%d %H:%M:%S%.3f"),
                format!("{}/{}", event.point.tick, event.point.id),
                event.topic,
                event.key,
                event.actor,
                event.event_id,
            )?,
        }
    }
    out.flush()
}

/// The payload stays as it was written: it may hold what no program here can read.
#[derive(Serialize)]
struct Line<'a> {
    tick: i64,
    id: i64,
    event_id: Uuid,
    topic: &'a str,
    schema_version: i16,
    key: Uuid,
    lane: Lane,
    at: DateTime<Utc>,
    actor: &'a str,
    reason: Option<&'a str>,
    request_id: Option<Uuid>,
    caused_by: Option<Uuid>,
    traceparent: Option<&'a str>,
    payload: &'a RawValue,
}

impl<'a> Line<'a> {
    fn of(event: &'a Event) -> Self {
        Self {
            tick: event.point.tick,
            id: event.point.id,
            event_id: event.event_id,
            topic: &event.topic,
            schema_version: event.schema_version,
            key: event.key,
            lane: event.lane,
            at: event.at,
            actor: &event.actor,
            reason: event.reason.as_deref(),
            request_id: event.request_id,
            caused_by: event.caused_by,
            traceparent: event.traceparent.as_deref(),
            payload: event.payload.json(),
        }
    }
}
