//! How the events of a unit of work become rows of the log.

use sqlx::PgConnection;
use uuid::Uuid;

use super::{Origin, UnitOfWork};
use crate::copy::{Rows, Target};
use crate::event::{NewEvent, part_of};

pub(super) mod early;

/// An event that a unit of work will append.
#[derive(Debug)]
pub(crate) struct Pending {
    key: Uuid,
    batch_id: Option<Uuid>,
    event: NewEvent,
}

impl Pending {
    pub(crate) fn of(key: Uuid, event: NewEvent) -> Self {
        let batch_id = None;
        Self {
            key,
            batch_id,
            event,
        }
    }

    pub(crate) fn member(batch: Uuid, key: Uuid, event: NewEvent) -> Self {
        let batch_id = Some(batch);
        Self {
            key,
            batch_id,
            event,
        }
    }
}

#[cfg(feature = "testing")]
impl UnitOfWork {
    pub(crate) fn announced(&self) -> Vec<(Uuid, NewEvent)> {
        let announced = self.pending.iter();
        announced.map(|one| (one.key, one.event.clone())).collect()
    }
}

/// Writes events in their order; answers how many.
pub(super) async fn write(
    tx: &mut UnitOfWork,
    events: Vec<Pending>,
    origin: &Origin,
) -> Result<u64, sqlx::Error> {
    let written = match events.as_slice() {
        [only] => one(tx, only, origin).await,
        events if events.len() >= COPY_FROM => tx.copy(copied(events, origin)).await,
        _ => Columns::of(events).insert(tx, origin).await,
    }?;
    early::give(tx).await?;
    Ok(written)
}

/// Most units of work announce one change: neither a function nor a sort stands before its row.
async fn one(
    tx: &mut PgConnection,
    pending: &Pending,
    origin: &Origin,
) -> Result<u64, sqlx::Error> {
    let Pending {
        key,
        batch_id,
        event,
    } = pending;
    let written = sqlx::query!(
        "
        -- outbox: append one
        insert into outbox.event (
            event_id, topic, schema_version, key, part, payload,
            lane, actor, reason, request_id, caused_by, traceparent, batch_id
        )
        values ($1, $2, $3, $4, $5, $6::text::json, $7, $8, $9, $10, $11, $12, $13)
        ",
        event.event_id,
        event.topic,
        event.schema_version,
        key,
        part_of(*key),
        event.payload.to_string(),
        origin.lane.code(),
        origin.actor,
        origin.reason,
        origin.request_id,
        origin.caused_by,
        origin.traceparent,
        *batch_id,
    )
    .execute(tx)
    .await?;
    Ok(written.rows_affected())
}

/// From so many events on they are copied: cheaper for each, and a round trip more.
const COPY_FROM: usize = 32;

const EVENTS: Target = Target {
    table: "outbox.event",
    columns: &[
        "event_id",
        "topic",
        "schema_version",
        "key",
        "part",
        "payload",
        "lane",
        "actor",
        "reason",
        "request_id",
        "caused_by",
        "traceparent",
        "batch_id",
    ],
};

/// The buffered events as rows. COPY draws their ids as it reads them, in this order, each after
/// the transaction's id: defaults are computed in the order of the table's columns.
fn copied(events: &[Pending], origin: &Origin) -> Rows {
    let mut rows = Rows::new(EVENTS);
    for Pending {
        key,
        batch_id,
        event,
    } in events
    {
        rows.row()
            .put(event.event_id)
            .put(event.topic)
            .put(event.schema_version)
            .put(*key)
            .put(part_of(*key))
            .put_json(&event.payload)
            .put(origin.lane.code())
            .put(&origin.actor)
            .put(&origin.reason)
            .put(origin.request_id)
            .put(origin.caused_by)
            .put(&origin.traceparent)
            .put(*batch_id);
    }
    rows
}

/// The buffered events, a vector per column, as `unnest` wants them.
#[derive(Default)]
pub(crate) struct Columns {
    pub(crate) event_id: Vec<Uuid>,
    pub(crate) topic: Vec<String>,
    pub(crate) schema_version: Vec<i16>,
    pub(crate) key: Vec<Uuid>,
    pub(crate) part: Vec<i16>,
    /// As text: the driver writes a space before a value of JSON.
    pub(crate) payload: Vec<String>,
    batch_id: Vec<Option<Uuid>>,
}

impl Columns {
    pub(crate) fn of(events: impl IntoIterator<Item = Pending>) -> Self {
        let mut columns = Self::default();
        for Pending {
            key,
            batch_id,
            event,
        } in events
        {
            columns.batch_id.push(batch_id);
            columns.event_id.push(event.event_id);
            columns.topic.push(event.topic.to_owned());
            columns.schema_version.push(event.schema_version);
            columns.key.push(key);
            columns.part.push(part_of(key));
            columns.payload.push(event.payload.to_string());
        }
        columns
    }

    async fn insert(self, tx: &mut PgConnection, origin: &Origin) -> Result<u64, sqlx::Error> {
        let written = sqlx::query!(
            r#"
            -- outbox: append
            insert into outbox.event (
                event_id, topic, schema_version, key, part, payload,
                lane, actor, reason, request_id, caused_by, traceparent, batch_id
            )
            select event_id, topic, schema_version, key, part, payload::json,
                $7, $8, $9, $10, $11, $12, batch_id
            from unnest(
                $1::uuid[], $2::text[], $3::smallint[], $4::uuid[], $5::smallint[], $6::text[],
                $13::uuid[]
            )
            with ordinality
                as new (event_id, topic, schema_version, key, part, payload, batch_id, nth)
            order by nth
            "#,
            &self.event_id,
            &self.topic,
            &self.schema_version,
            &self.key,
            &self.part,
            &self.payload,
            origin.lane.code(),
            origin.actor,
            origin.reason,
            origin.request_id,
            origin.caused_by,
            origin.traceparent,
            &self.batch_id as &[Option<Uuid>],
        )
        .execute(tx)
        .await?;
        Ok(written.rows_affected())
    }
}
