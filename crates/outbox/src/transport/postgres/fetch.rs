//! The statements that read a page.

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgHasArrayType, PgTypeInfo, PgValueRef};
use sqlx::types::Json;
use sqlx::{Decode, PgConnection, Postgres, Type};
use uuid::Uuid;

use crate::event::{Event, Lane, LogPoint, Payload, Recorded};
use crate::tick::Diff;

/// A lane, and the topics that are read of it: all unless named.
pub(crate) type Wanted<'a> = (Lane, Option<&'a [String]>);

/// Ids above the first and up to the second.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub(super) above: i64,
    pub(super) up_to: i64,
    /// Whether it is a part of one tick.
    pub(super) is_inside: bool,
}

/// The rows of a page, a vector per column: for thousands of rows the server sends one, which costs
/// both sides a third less.
struct Columns {
    xid: Vec<Xid8>,
    id: Vec<i64>,
    event_id: Vec<Uuid>,
    topic: Vec<String>,
    schema_version: Vec<i16>,
    key: Vec<Uuid>,
    part: Vec<i16>,
    lane: Vec<i16>,
    at: Vec<DateTime<Utc>>,
    payload: Vec<Json<Box<RawValue>>>,
    actor: Vec<String>,
    reason: Vec<Option<String>>,
    request_id: Vec<Option<Uuid>>,
    caused_by: Vec<Option<Uuid>>,
    batch_id: Vec<Option<Uuid>>,
    traceparent: Vec<Option<String>>,
}

/// A transaction's id, as the server sends it: to make text of each and read that took a twentieth
/// of a page.
#[derive(Debug)]
struct Xid8(u64);

/// By the numbers that these types have in every server.
impl Type<Postgres> for Xid8 {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(5069))
    }
}

impl PgHasArrayType for Xid8 {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(271))
    }
}

impl<'r> Decode<'r, Postgres> for Xid8 {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        let bytes = value.as_bytes()?.try_into()?;
        Ok(Self(u64::from_be_bytes(bytes)))
    }
}

impl Columns {
    fn into_events(self, tick_of: impl Fn(u64) -> i64) -> Vec<Event> {
        let length = self.id.len();
        let mut topics = self.topic.into_iter();
        let mut payloads = self.payload.into_iter();
        let mut actors = self.actor.into_iter();
        let mut reasons = self.reason.into_iter();
        let mut traces = self.traceparent.into_iter();
        let event = |n: usize| -> Option<Event> {
            let recorded = Recorded {
                point: LogPoint {
                    tick: tick_of(self.xid[n].0),
                    id: self.id[n],
                },
                event_id: self.event_id[n],
                topic: topics.next()?,
                schema_version: self.schema_version[n],
                key: self.key[n],
                part: self.part[n],
                lane: Lane::from_code(self.lane[n]),
                at: self.at[n],
                payload: Payload::new(payloads.next()?.0),
                actor: actors.next()?,
                reason: reasons.next()?,
                request_id: self.request_id[n],
                caused_by: self.caused_by[n],
                batch_id: self.batch_id[n],
                traceparent: traces.next()?,
            };
            Some(recorded.into())
        };
        (0..length).map_while(event).collect()
    }
}

/// The events of a window that a diff holds, in no order.
pub(super) async fn fetch(
    conn: &mut PgConnection,
    (lane, topics): Wanted<'_>,
    diff: &Diff,
    window: Window,
    tick_of: impl Fn(u64) -> i64,
) -> Result<Vec<Event>, sqlx::Error> {
    let read = (diff, (window.above, window.up_to), topics);
    let columns = match (window.is_inside, lane) {
        (true, lane) => inside(conn, lane, read).await?,
        (false, Lane::Interactive) => ticks_interactive(conn, read).await?,
        (false, Lane::Bulk) => ticks_bulk(conn, read).await?,
    };
    Ok(columns.map_or_else(Vec::new, |columns| columns.into_events(tick_of)))
}

type Read<'a> = (&'a Diff, (i64, i64), Option<&'a [String]>);

/// The columns of what a statement selects; nothing when it selects nothing.
macro_rules! columns {
    ($name:literal, $rows:literal, $($bind:expr),+) => {
        sqlx::query_as!(
            Columns,
            $name + r#"
            select array_agg(xid) as "xid!: Vec<Xid8>", array_agg(id) as "id!",
                array_agg(event_id) as "event_id!", array_agg(topic) as "topic!",
                array_agg(schema_version) as "schema_version!", array_agg(key) as "key!",
                array_agg(part) as "part!", array_agg(lane) as "lane!", array_agg(at) as "at!",
                array_agg(payload) as "payload!: Vec<Json<Box<RawValue>>>",
                array_agg(actor) as "actor!", array_agg(reason) as "reason!: Vec<Option<String>>",
                array_agg(request_id) as "request_id!: Vec<Option<Uuid>>",
                array_agg(caused_by) as "caused_by!: Vec<Option<Uuid>>",
                array_agg(batch_id) as "batch_id!: Vec<Option<Uuid>>",
                array_agg(traceparent) as "traceparent!: Vec<Option<String>>"
            from ("# + $rows + r") as page having count(*) > 0",
            $($bind),+
        )
    };
}

/// Of whole ticks, by transaction: how far back their ids go says nothing, one that was open for an
/// hour brings old ones. The lane is a literal, so that its partial index can serve; hence a twin
/// per lane.
///
/// `offset 0` here and below keeps the planner to the one index that fits. Not knowing the bounds,
/// it would read two and take what they have in common: in a tick of a million events, a million
/// entries for each page.
macro_rules! fetch_lane {
    ($function:ident, $name:literal, $rows:literal) => {
        async fn $function(
            conn: &mut PgConnection,
            (diff, (above, up_to), topics): Read<'_>,
        ) -> Result<Option<Columns>, sqlx::Error> {
            columns!(
                $name, $rows, diff.from, diff.below, &diff.open, &diff.late, above, up_to, topics
            )
            .fetch_optional(conn)
            .await
        }
    };
}

fetch_lane!(
    ticks_interactive,
    "-- log: page of the interactive lane",
    r"
    select * from (
        (
            select * from outbox.event
            where lane = 0 and xid >= $1::text::xid8 and xid < $2::text::xid8
                and xid <> all ($3::text[]::xid8[])
            offset 0
        )
        union all
        (
            select * from outbox.event
            where lane = 0 and xid = any ($4::text[]::xid8[])
            offset 0
        )
    ) as tick
    where id > $5 and id <= $6 and ($7::text[] is null or topic = any ($7))
    "
);

fetch_lane!(
    ticks_bulk,
    "-- log: page of the bulk lane",
    r"
    select * from (
        (
            select * from outbox.event
            where lane = 1 and xid >= $1::text::xid8 and xid < $2::text::xid8
                and xid <> all ($3::text[]::xid8[])
            offset 0
        )
        union all
        (
            select * from outbox.event
            where lane = 1 and xid = any ($4::text[]::xid8[])
            offset 0
        )
    ) as tick
    where id > $5 and id <= $6 and ($7::text[] is null or topic = any ($7))
    "
);

/// Of one tick, by id. The lane is asked last: said inside, it would bring the planner to the whole
/// index of the lane as long as the table has no statistics.
async fn inside(
    conn: &mut PgConnection,
    lane: Lane,
    (diff, (above, up_to), topics): Read<'_>,
) -> Result<Option<Columns>, sqlx::Error> {
    columns!(
        "-- log: page inside a tick",
        r"
        select * from (select * from outbox.event where id > $5 and id <= $6 offset 0) as window_of
        where lane = $8
            and ($7::text[] is null or topic = any ($7))
            and (
                xid >= $1::text::xid8 and xid < $2::text::xid8 and xid <> all ($3::text[]::xid8[])
                or xid = any ($4::text[]::xid8[])
            )
        ",
        diff.from,
        diff.below,
        &diff.open,
        &diff.late,
        above,
        up_to,
        topics,
        lane.code()
    )
    .fetch_optional(conn)
    .await
}
