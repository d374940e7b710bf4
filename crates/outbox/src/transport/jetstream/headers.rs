//! An event as a message: `CloudEvents` 1.0 in binary mode, and its place in the log.
//!
//! Text of users goes through percent-encoding, as the binding to NATS asks: a line break in a
//! reason must not become a header of its own.

use std::fmt::Write as _;

use async_nats::HeaderMap;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::event::{Event, Lane, LogPoint, Payload, Recorded};

const POSITION: &str = "Ob-Position";
const BEFORE: &str = "Ob-Before";
const CUT_AT: &str = "Ob-Cut-At";
const PART: &str = "Ob-Part";
const VERSION: &str = "Ob-Version";
const ACTOR: &str = "Ob-Actor";
const REASON: &str = "Ob-Reason";
const REQUEST: &str = "Ob-Request";
const CAUSE: &str = "Ob-Cause";
const BATCH: &str = "Ob-Batch";

/// Where a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) point: LogPoint,
    /// No event of the lane lies between this and `point`.
    pub(super) before: LogPoint,
    /// When the tick was cut: tells it from another of its number.
    pub(super) cut_at: DateTime<Utc>,
}

/// The headers of an event.
pub(super) fn of(event: &Event, place: Place, source: &str) -> HeaderMap {
    let mut map = HeaderMap::new();
    let mut put = |name: &str, value: String| map.insert(name, encode(&value).as_str());
    put("ce-specversion", "1.0".to_owned());
    put("ce-id", event.event_id.to_string());
    put("ce-type", event.topic.clone());
    put("ce-source", source.to_owned());
    put("ce-subject", event.key.to_string());
    put(
        "ce-time",
        event.at.to_rfc3339_opts(SecondsFormat::Micros, true),
    );
    let (topic, version) = (&event.topic, event.schema_version);
    put("ce-dataschema", format!("urn:outbox:{topic}:{version}"));
    put("ce-partitionkey", event.key.to_string());
    let LogPoint { tick, id } = event.point;
    // Ordered as text, as the extension asks.
    put("ce-sequence", format!("{tick:019}.{id:019}"));
    put("content-type", "application/json".to_owned());
    put(POSITION, written(event.point));
    put(BEFORE, written(place.before));
    put(CUT_AT, place.cut_at.timestamp_micros().to_string());
    put(PART, event.part.to_string());
    put(VERSION, event.schema_version.to_string());
    put(ACTOR, event.actor.clone());
    let ids = [
        (REQUEST, event.request_id),
        (CAUSE, event.caused_by),
        (BATCH, event.batch_id),
    ];
    for (name, id) in ids {
        if let Some(id) = id {
            put(name, id.to_string());
        }
    }
    for (name, text) in [(REASON, &event.reason), ("traceparent", &event.traceparent)] {
        if let Some(text) = text {
            put(name, text.clone());
        }
    }
    map
}

/// The place that a message names; nothing for a message that is not ours.
pub(super) fn place(headers: &HeaderMap) -> Option<Place> {
    Some(Place {
        point: point(&text(headers, POSITION)?)?,
        before: point(&text(headers, BEFORE)?)?,
        cut_at: DateTime::from_timestamp_micros(text(headers, CUT_AT)?.parse().ok()?)?,
    })
}

/// The event of a message.
pub(super) fn event(headers: &HeaderMap, lane: Lane, payload: &[u8]) -> Option<Event> {
    let json: Box<RawValue> = serde_json::from_slice(payload).ok()?;
    let id = |name| text(headers, name).and_then(|id| Uuid::parse_str(&id).ok());
    let at = DateTime::parse_from_rfc3339(&text(headers, "ce-time")?).ok()?;
    let recorded = Recorded {
        point: place(headers)?.point,
        event_id: id("ce-id")?,
        topic: text(headers, "ce-type")?,
        schema_version: text(headers, VERSION)?.parse().ok()?,
        key: id("ce-subject")?,
        part: text(headers, PART)?.parse().ok()?,
        lane,
        at: at.with_timezone(&Utc),
        payload: Payload::new(json),
        actor: text(headers, ACTOR)?,
        reason: text(headers, REASON),
        request_id: id(REQUEST),
        caused_by: id(CAUSE),
        batch_id: id(BATCH),
        traceparent: text(headers, "traceparent"),
    };
    Some(recorded.into())
}

fn written(point: LogPoint) -> String {
    format!("{}/{}", point.tick, point.id)
}

fn point(text: &str) -> Option<LogPoint> {
    let (tick, id) = text.split_once('/')?;
    Some(LogPoint {
        tick: tick.parse().ok()?,
        id: id.parse().ok()?,
    })
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    decode(headers.get(name)?.as_str())
}

fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if (0x21..0x7f).contains(&byte) && byte != b'%' && byte != b'"' {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("a string takes all that is written");
        }
    }
    encoded
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event_with(reason: &str) -> Event {
        let json = serde_json::value::to_raw_value(&serde_json::json!({ "item": "Büch" }));
        Recorded {
            point: LogPoint { tick: 7, id: 42 },
            event_id: Uuid::from_u128(1),
            topic: "order.placed".to_owned(),
            schema_version: 2,
            key: Uuid::from_u128(2),
            part: 5,
            lane: Lane::Bulk,
            at: DateTime::from_timestamp_micros(1_900_000_000_123_456).unwrap(),
            payload: Payload::new(json.unwrap()),
            actor: "Zoë \"Z\" 100%".to_owned(),
            reason: Some(reason.to_owned()),
            request_id: Some(Uuid::from_u128(3)),
            caused_by: None,
            batch_id: Some(Uuid::from_u128(4)),
            traceparent: None,
        }
        .into()
    }

    #[test]
    fn an_event_comes_back_as_it_was_whatever_its_texts_hold() {
        let event = event_with("asked\r\nOb-Position: 9/9");
        let place_of = Place {
            point: event.point,
            before: LogPoint { tick: 6, id: 41 },
            cut_at: event.at,
        };

        let headers = of(&event, place_of, "/shop");

        assert_eq!(place(&headers), Some(place_of));
        let payload = event.payload.json().get().as_bytes();
        assert_eq!(super::event(&headers, Lane::Bulk, payload), Some(event));
    }

    #[test]
    fn a_foreign_message_has_no_place() {
        assert_eq!(place(&HeaderMap::new()), None);
    }
}
