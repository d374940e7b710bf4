//! An event: a fact that was committed with the change it announces.
//!
//! An event carries facts, never authority: whoever acts on it reads the state of now again.

use std::ops::Deref;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::consumer::Failure;

/// Into how many parts the keys are spread. A consumer's shards divide the parts, so this number
/// can never change while a log exists.
pub const PARTS: i16 = 64;

/// Which queue an event waits in. Lanes replace priorities: each has positions of its own, so bulk
/// work of any size cannot delay an interactive event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// Somebody waits for it.
    Interactive,
    /// Large runs: a month close, an import.
    Bulk,
}

impl Lane {
    /// Both lanes.
    pub const ALL: [Self; 2] = [Self::Interactive, Self::Bulk];

    pub(crate) const fn code(self) -> i16 {
        match self {
            Self::Interactive => 0,
            Self::Bulk => 1,
        }
    }

    pub(crate) const fn from_code(code: i16) -> Self {
        if code == 0 {
            Self::Interactive
        } else {
            Self::Bulk
        }
    }
}

/// An event to be appended by [`crate::UnitOfWork::append`].
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// The event's own id (UUIDv7); it is also the `CloudEvents` id.
    pub event_id: Uuid,
    /// What happened: `noun.verb`, such as `order.placed`.
    pub topic: &'static str,
    /// The version of the payload's shape, counted per topic from 1.
    pub schema_version: i16,
    /// The facts, frozen; at most 256 KiB as stored.
    pub payload: Value,
}

impl NewEvent {
    /// A new event with a new id.
    #[must_use]
    pub fn new(topic: &'static str, schema_version: i16, payload: Value) -> Self {
        Self {
            event_id: crate::ids::new(),
            topic,
            schema_version,
            payload,
        }
    }
}

/// Where an event stands in the log: events of one key are committed in the order of their points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LogPoint {
    /// The tick in which the event became visible.
    pub tick: i64,
    /// The event's id; it orders the events of one tick.
    pub id: i64,
}

/// An event read from the log. A clone shares what it holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Event(Arc<Recorded>);

/// What the log holds of an event; [`Event`] derefs to it.
#[derive(Debug, PartialEq)]
pub struct Recorded {
    /// Its place in the log.
    pub point: LogPoint,
    /// Its own id.
    pub event_id: Uuid,
    /// What happened.
    pub topic: String,
    /// The version of the payload's shape.
    pub schema_version: i16,
    /// The ordering key: the aggregate that changed.
    pub key: Uuid,
    /// The key's part, `0..PARTS`.
    pub part: i16,
    /// The lane it was appended to.
    pub lane: Lane,
    /// When it was appended, by the database's clock.
    pub at: DateTime<Utc>,
    /// The facts.
    pub payload: Payload,
    /// Who did it.
    pub actor: String,
    /// Why, in the actor's words.
    pub reason: Option<String>,
    /// The request that caused it.
    pub request_id: Option<Uuid>,
    /// The event that caused it.
    pub caused_by: Option<Uuid>,
    /// The batch it is a member of.
    pub batch_id: Option<Uuid>,
    /// W3C trace context.
    pub traceparent: Option<String>,
}

impl Recorded {
    /// An event that no log holds, for a handler's own tests. What a test asks for it sets:
    /// `Recorded { at, ..Recorded::unlogged(topic, 1, key, facts) }`.
    #[must_use]
    pub fn unlogged(topic: &str, schema_version: i16, key: Uuid, facts: Value) -> Self {
        Self {
            point: LogPoint::default(),
            event_id: Uuid::nil(),
            topic: topic.to_owned(),
            schema_version,
            key,
            part: part_of(key),
            lane: Lane::Interactive,
            at: DateTime::UNIX_EPOCH,
            payload: facts.into(),
            actor: "nobody".to_owned(),
            reason: None,
            request_id: None,
            caused_by: None,
            batch_id: None,
            traceparent: None,
        }
    }
}

impl From<Recorded> for Event {
    fn from(recorded: Recorded) -> Self {
        Self(Arc::new(recorded))
    }
}

impl Deref for Event {
    type Target = Recorded;
    fn deref(&self) -> &Recorded {
        &self.0
    }
}

/// The facts of an event as they were written, read only by who wants them.
#[derive(Debug)]
pub struct Payload(Box<RawValue>);

impl Payload {
    pub(crate) fn new(json: Box<RawValue>) -> Self {
        Self(json)
    }

    /// The facts as a value of the reader's own type.
    ///
    /// # Errors
    /// When they do not have the type's shape.
    pub fn read<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.0.get())
    }

    /// The facts as a tree of JSON.
    ///
    /// # Panics
    /// When it holds what Postgres takes for JSON and Rust does not, such as `1e400`, half of a
    /// surrogate pair, or more than a hundred levels. Only other programs' statements write that;
    /// [`Self::read`] tells.
    #[must_use]
    pub fn to_value(&self) -> Value {
        self.read().expect("the facts are JSON that can be read")
    }

    /// The JSON.
    #[must_use]
    pub fn json(&self) -> &RawValue {
        &self.0
    }
}

/// For events that no log holds, such as those of a handler's own tests.
impl From<Value> for Payload {
    fn from(facts: Value) -> Self {
        let json = serde_json::value::to_raw_value(&facts);
        Self(json.expect("a tree of JSON can be written"))
    }
}

/// By their text, which the database writes the same way for the same facts.
impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
    }
}

impl Event {
    /// Lets a payload pass whose version this program knows. A newer one waits for the deploy, and
    /// neither uses up attempts nor becomes a dead letter meanwhile.
    ///
    /// # Errors
    /// [`Failure::Newer`], to be returned by the handler.
    pub fn expect_version(&self, known: i16) -> Result<(), Failure> {
        if self.schema_version <= known {
            return Ok(());
        }
        Err(Failure::Newer(format!(
            "{} is of version {}, this program knows up to {known}: it waits for the deploy",
            self.topic, self.schema_version
        )))
    }
}

/// The part of a key: FNV-1a over its bytes. It is stored with every event and decides which shard
/// reads it, so the function is fixed for ever.
#[must_use]
pub fn part_of(key: Uuid) -> i16 {
    let hash = key
        .as_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
    // The low bits of FNV-1a mix worst; fold the halves before the modulus.
    i16::try_from((hash ^ (hash >> 32)) % PARTS.unsigned_abs() as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_spread_evenly_over_the_parts() {
        let mut counts = [0_u32; PARTS as usize];
        for n in 0..64_000_u128 {
            counts[part_of(Uuid::from_u128(n << 64 | n)) as usize] += 1;
        }
        assert!(counts.iter().all(|n| (800..1200).contains(n)), "{counts:?}");
    }

    #[test]
    fn the_part_of_a_key_never_changes() {
        assert_eq!(part_of(Uuid::nil()), 28);
        assert_eq!(
            part_of(Uuid::from_u128(0x0192_f3a1_0000_7000_8000_0000_0000_0001)),
            59
        );
    }
}
