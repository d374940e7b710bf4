//! Deliveries: events in trouble, one row each. Success writes none.
//!
//! A failed event parks its key for its consumer: events of the key that arrive meanwhile become
//! rows too, and only the lowest open row of a key is tried. That head is computed when polling, so
//! no state says "blocked" and none can be forgotten.
//!
//! Owns `outbox.delivery`, `outbox.obsolete`.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use crate::consumer::Obsolete;
use crate::event::{Event, Lane, LogPoint, Payload, Recorded};
use crate::mutant::{self, Mutant};

mod blocked;
pub(crate) mod claim;
pub mod dead;
mod retrying;

pub use retrying::{Retrying, retrying};

/// Whoever reads a trouble reads no more of it, in characters.
const LEGIBLE: usize = 8_000;

/// How a parked event stands.
#[derive(Debug, Clone)]
pub(crate) enum Parking {
    /// Waits behind the head of its key; no attempt was made.
    Behind,
    /// An attempt failed; the next is due after so many microseconds.
    Failed { error: String, wait_us: i64 },
    /// Its version is newer than this program: no attempt was made, and it is asked again after so
    /// many microseconds.
    Newer { error: String, wait_us: i64 },
    /// The other side, which took others, did not take it: no attempt is counted.
    TurnedAway { error: String, wait_us: i64 },
    /// A call that goes on; given up after so many seconds.
    Running { owner: Uuid, seconds: i32 },
    /// Trying again cannot help.
    Dead { reason: String },
}

impl Parking {
    /// One word for it, as the metrics say it.
    pub(crate) fn why(&self) -> &'static str {
        match self {
            Self::Behind => "behind",
            Self::Failed { .. } => "failed",
            Self::Newer { .. } => "newer",
            Self::TurnedAway { .. } => "turned_away",
            Self::Running { .. } => "running",
            Self::Dead { .. } => "dead",
        }
    }
}

/// Moves an event off the log's way into a row of its own.
pub(crate) async fn park(
    tx: &mut PgConnection,
    consumer: i16,
    event: &Event,
    parking: &Parking,
) -> Result<(), sqlx::Error> {
    let row = Columns::of(parking);
    let (error, dead_reason) = (row.error.map(legible), row.dead_reason.map(legible));
    sqlx::query!(
        "
        -- delivery: park
        insert into outbox.delivery (
            consumer, event_id, tick, id, topic, schema_version, key, part, lane, at, payload,
            actor, reason, request_id, caused_by, batch_id, traceparent,
            state, attempt, owner, last_error, dead_reason, deadline, next_at
        )
        values (
            $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::text::json, $12, $13, $14, $15, $16, $17,
            $18, $19, $20, $21, $22,
            clock_timestamp() + make_interval(secs => $23::int),
            clock_timestamp() + $24::bigint * interval '1 microsecond'
        )
        on conflict (consumer, event_id) do nothing
        ",
        consumer,
        event.event_id,
        event.point.tick,
        event.point.id,
        event.topic,
        event.schema_version,
        event.key,
        event.part,
        event.lane.code(),
        event.at,
        event.payload.json().get(),
        event.actor,
        event.reason,
        event.request_id,
        event.caused_by,
        event.batch_id,
        event.traceparent,
        row.state,
        row.attempt,
        row.owner,
        error.as_deref(),
        dead_reason.as_deref(),
        row.deadline_s,
        row.wait_us,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// What a handler or a provider said, as Postgres takes it: its `text` has no NUL, and an error
/// that could not be written would hold up all that comes after its event.
fn legible(said: &str) -> Cow<'_, str> {
    let said = match said.char_indices().nth(LEGIBLE) {
        Some((end, _)) => &said[..end],
        None => said,
    };
    if said.contains('\0') {
        Cow::Owned(said.replace('\0', "\u{fffd}"))
    } else {
        Cow::Borrowed(said)
    }
}

#[derive(Default)]
struct Columns<'a> {
    state: &'static str,
    attempt: i32,
    owner: Option<Uuid>,
    error: Option<&'a str>,
    dead_reason: Option<&'a str>,
    deadline_s: Option<i32>,
    wait_us: Option<i64>,
}

impl<'a> Columns<'a> {
    fn of(parking: &'a Parking) -> Self {
        match parking {
            Parking::Behind => Self {
                state: "retry",
                wait_us: Some(mutant::either(Mutant::BlockedFlag, blocked::WAIT_US, 0)),
                ..Self::default()
            },
            Parking::Failed { error, wait_us } => Self {
                state: "retry",
                attempt: 1,
                error: Some(error),
                wait_us: Some(*wait_us),
                ..Self::default()
            },
            Parking::Newer { error, wait_us } | Parking::TurnedAway { error, wait_us } => Self {
                state: "retry",
                error: Some(error),
                wait_us: Some(*wait_us),
                ..Self::default()
            },
            Parking::Running { owner, seconds } => Self {
                state: "running",
                attempt: 1,
                owner: Some(*owner),
                deadline_s: Some(*seconds),
                ..Self::default()
            },
            Parking::Dead { reason } => Self {
                state: "dead",
                attempt: 1,
                error: Some(reason),
                dead_reason: Some(reason),
                ..Self::default()
            },
        }
    }
}

/// What keeps events from being handled now.
#[derive(Debug, Default)]
pub(crate) struct Barred {
    /// Keys with an open row: their later events must wait behind it.
    pub(crate) keys: Vec<Uuid>,
    /// Events that were cancelled, and why.
    pub(crate) cancelled: Vec<Obsolete>,
}

/// Asks what keeps any of the events from being handled.
pub(crate) async fn barred(
    tx: &mut PgConnection,
    consumer: i16,
    events: &[Event],
) -> Result<Barred, sqlx::Error> {
    let (keys, ids): (Vec<Uuid>, Vec<Uuid>) = events
        .iter()
        .map(|event| (event.key, event.event_id))
        .unzip();
    let rows = sqlx::query!(
        r#"
        -- delivery: what bars events
        select distinct delivery.key as "of!", null::text as cancelled
        from outbox.delivery
        join outbox.consumer using (consumer)
        where delivery.consumer = $1
            and delivery.key = any ($2)
            and (state <> 'dead' or on_dead = 'halt')
        union all
        select event_id, concat('cancelled by ', actor, ': ', reason)
        from outbox.cancelled
        where event_id = any ($3)
        "#,
        consumer,
        &keys,
        &ids,
    )
    .fetch_all(tx)
    .await?;
    let mut barred = Barred::default();
    for row in rows {
        match row.cancelled {
            None if mutant::is(Mutant::KeysNotBlocked) => {}
            None => barred.keys.push(row.of),
            Some(reason) => barred.cancelled.push(Obsolete {
                event_id: row.of,
                reason,
            }),
        }
    }
    Ok(barred)
}

/// Keeps what a handler found overtaken.
pub(crate) async fn record_obsolete(
    tx: &mut PgConnection,
    consumer: i16,
    events: &[Event],
    found: &[Obsolete],
) -> Result<(), sqlx::Error> {
    for obsolete in found {
        let key = events
            .iter()
            .find(|event| event.event_id == obsolete.event_id);
        sqlx::query!(
            "
            -- delivery: record obsolete
            insert into outbox.obsolete (consumer, event_id, key, reason)
            values ($1, $2, $3, $4)
            on conflict (consumer, event_id) do nothing
            ",
            consumer,
            obsolete.event_id,
            key.map_or(obsolete.event_id, |event| event.key),
            &*legible(&obsolete.reason),
        )
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

pub(crate) struct Row {
    pub(crate) tick: i64,
    pub(crate) id: i64,
    pub(crate) event_id: Uuid,
    pub(crate) topic: String,
    pub(crate) schema_version: i16,
    pub(crate) key: Uuid,
    pub(crate) part: i16,
    pub(crate) lane: i16,
    pub(crate) at: DateTime<Utc>,
    pub(crate) payload: Json<Box<RawValue>>,
    pub(crate) actor: String,
    pub(crate) reason: Option<String>,
    pub(crate) request_id: Option<Uuid>,
    pub(crate) caused_by: Option<Uuid>,
    pub(crate) batch_id: Option<Uuid>,
    pub(crate) traceparent: Option<String>,
    pub(crate) attempt: i32,
}

impl Row {
    pub(crate) fn into_event(self) -> Event {
        Recorded {
            point: LogPoint {
                tick: self.tick,
                id: self.id,
            },
            event_id: self.event_id,
            topic: self.topic,
            schema_version: self.schema_version,
            key: self.key,
            part: self.part,
            lane: Lane::from_code(self.lane),
            at: self.at,
            payload: Payload::new(self.payload.0),
            actor: self.actor,
            reason: self.reason,
            request_id: self.request_id,
            caused_by: self.caused_by,
            batch_id: self.batch_id,
            traceparent: self.traceparent,
        }
        .into()
    }
}
