//! The statements that read a page.

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use sqlx::PgConnection;
use sqlx::types::Json;
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

pub(super) struct Row {
    xid: String,
    id: i64,
    event_id: Uuid,
    topic: String,
    schema_version: i16,
    key: Uuid,
    part: i16,
    lane: i16,
    at: DateTime<Utc>,
    payload: Json<Box<RawValue>>,
    actor: String,
    reason: Option<String>,
    request_id: Option<Uuid>,
    caused_by: Option<Uuid>,
    batch_id: Option<Uuid>,
    traceparent: Option<String>,
}

impl Row {
    pub(super) fn into_event(self, tick_of: impl FnOnce(u64) -> i64) -> Result<Event, sqlx::Error> {
        let xid = self
            .xid
            .parse()
            .map_err(|_| sqlx::Error::Decode("not an xid".into()))?;
        Ok(Recorded {
            point: LogPoint {
                tick: tick_of(xid),
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
        .into())
    }
}

/// The events of a window that a diff holds.
pub(super) async fn fetch(
    conn: &mut PgConnection,
    (lane, topics): Wanted<'_>,
    diff: &Diff,
    window: Window,
) -> Result<Vec<Row>, sqlx::Error> {
    let read = (diff, (window.above, window.up_to), topics);
    match (window.is_inside, lane) {
        (true, lane) => inside(conn, lane, read).await,
        (false, Lane::Interactive) => ticks_interactive(conn, read).await,
        (false, Lane::Bulk) => ticks_bulk(conn, read).await,
    }
}

type Read<'a> = (&'a Diff, (i64, i64), Option<&'a [String]>);

/// Of whole ticks, by transaction: how far back their ids go says nothing, one that was open for an
/// hour brings old ones. The lane is a literal, so that its partial index can serve; hence a twin
/// per lane.
///
/// `offset 0` here and below keeps the planner to the one index that fits. Not knowing the bounds,
/// it would read two and take what they have in common: in a tick of a million events, a million
/// entries for each page.
macro_rules! fetch_lane {
    ($name:ident, $sql:literal) => {
        async fn $name(
            conn: &mut PgConnection,
            (diff, (above, up_to), topics): Read<'_>,
        ) -> Result<Vec<Row>, sqlx::Error> {
            sqlx::query_as!(
                Row, $sql, diff.from, diff.below, &diff.open, &diff.late, above, up_to, topics,
            )
            .fetch_all(conn)
            .await
        }
    };
}

fetch_lane!(
    ticks_interactive,
    r#"
    -- log: page of the interactive lane
    select xid::text as "xid!", id as "id!", event_id as "event_id!", topic as "topic!",
        schema_version as "schema_version!", key as "key!", part as "part!", lane as "lane!",
        at as "at!", payload as "payload!: _", actor as "actor!", reason, request_id, caused_by,
        batch_id, traceparent
    from (
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
    ) as page
    where id > $5 and id <= $6 and ($7::text[] is null or topic = any ($7))
    "#
);

fetch_lane!(
    ticks_bulk,
    r#"
    -- log: page of the bulk lane
    select xid::text as "xid!", id as "id!", event_id as "event_id!", topic as "topic!",
        schema_version as "schema_version!", key as "key!", part as "part!", lane as "lane!",
        at as "at!", payload as "payload!: _", actor as "actor!", reason, request_id, caused_by,
        batch_id, traceparent
    from (
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
    ) as page
    where id > $5 and id <= $6 and ($7::text[] is null or topic = any ($7))
    "#
);

/// Of one tick, by id. The lane is asked last: said inside, it would bring the planner to the whole
/// index of the lane as long as the table has no statistics.
async fn inside(
    conn: &mut PgConnection,
    lane: Lane,
    (diff, (above, up_to), topics): Read<'_>,
) -> Result<Vec<Row>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        r#"
        -- log: page inside a tick
        select xid::text as "xid!", id as "id!", event_id as "event_id!", topic as "topic!",
            schema_version as "schema_version!", key as "key!", part as "part!", lane as "lane!",
            at as "at!", payload as "payload!: _", actor as "actor!", reason, request_id, caused_by,
            batch_id, traceparent
        from (select * from outbox.event where id > $5 and id <= $6 offset 0) as page
        where lane = $8
            and ($7::text[] is null or topic = any ($7))
            and (
                xid >= $1::text::xid8 and xid < $2::text::xid8 and xid <> all ($3::text[]::xid8[])
                or xid = any ($4::text[]::xid8[])
            )
        "#,
        diff.from,
        diff.below,
        &diff.open,
        &diff.late,
        above,
        up_to,
        topics,
        lane.code(),
    )
    .fetch_all(conn)
    .await
}
