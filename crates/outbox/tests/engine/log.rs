//! The log seen from below: events appended by hand, so that a transaction can be held open in the
//! middle, and the log read page by page.

use outbox::transport::postgres;
use outbox::{Event, Lane, LogPoint};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

/// Appends an event and leaves the transaction as it is. Answers the event.
pub(crate) async fn append(conn: &mut PgConnection, key: Uuid) -> Uuid {
    append_to(conn, Lane::Interactive, key, "order.placed").await
}

/// Appends an event of a lane and a topic.
pub(crate) async fn append_to(conn: &mut PgConnection, lane: Lane, key: Uuid, topic: &str) -> Uuid {
    let event_id = outbox::ids::new();
    sqlx::query(
        "insert into outbox.event
            (event_id, topic, schema_version, key, part, lane, payload, actor)
         values ($1, $2, 1, $3, $4, $5, '{}', 'hand')",
    )
    .bind(event_id)
    .bind(topic)
    .bind(key)
    .bind(outbox::part_of(key))
    .bind(i16::from(lane == Lane::Bulk))
    .execute(conn)
    .await
    .unwrap();
    event_id
}

/// A reader of the interactive lane that comes back for more.
#[derive(Default)]
pub(crate) struct Tail {
    after: LogPoint,
    pub(crate) read: Vec<Uuid>,
}

impl Tail {
    pub(crate) async fn look(&mut self, pool: &PgPool, page: i64) {
        let events = read_after(pool, Lane::Interactive, &mut self.after, page).await;
        self.read
            .extend(events.into_iter().map(|event| event.event_id));
    }
}

/// All events of a lane in the order in which a consumer reads them.
pub(crate) async fn read(pool: &PgPool, lane: Lane, page: i64) -> Vec<Event> {
    read_after(pool, lane, &mut LogPoint::default(), page).await
}

/// The ids of [`read`]'s events, of the interactive lane.
pub(crate) async fn ids(pool: &PgPool, page: i64) -> Vec<Uuid> {
    let events = read(pool, Lane::Interactive, page).await;
    events.into_iter().map(|event| event.event_id).collect()
}

pub(crate) async fn read_after(
    pool: &PgPool,
    lane: Lane,
    after: &mut LogPoint,
    page: i64,
) -> Vec<Event> {
    let mut conn = pool.acquire().await.unwrap();
    let mut events = Vec::new();
    while let Some(read) = postgres::read(&mut conn, lane, *after, page).await.unwrap() {
        assert!(*after < read.to, "a page moves on");
        *after = read.to;
        events.extend(read.events);
    }
    events
}
