//! What was appended.

use sqlx::PgPool;

use crate::append::Outbox;
use crate::batch::SEALED;
use crate::delivery::Row;
use crate::event::Event;

/// The log from a place on: what was committed, published or not.
#[derive(Debug, Clone)]
pub struct Log {
    pool: PgPool,
    after: i64,
}

impl Log {
    /// What is committed from now on. In a database that the test has for itself: a transaction of
    /// somebody else that is open now may stand on either side.
    ///
    /// # Errors
    /// The database's.
    pub async fn from_here(outbox: &Outbox) -> Result<Self, sqlx::Error> {
        let after = sqlx::query_scalar!(
            r#"
            -- testing: the log's last event
            select coalesce(max(id), 0) as "id!" from outbox.event
            "#
        )
        .fetch_one(outbox.pool())
        .await?;
        let pool = outbox.pool().clone();
        Ok(Self { pool, after })
    }

    /// The events, in the order of their ids, which is commit order for the events of one key. No
    /// tick was asked for: that of their points is 0. The engine's own events are left out.
    ///
    /// # Errors
    /// The database's.
    pub async fn events(&self) -> Result<Vec<Event>, sqlx::Error> {
        let rows = sqlx::query_as!(
            Row,
            r#"
            -- testing: what was appended
            select 0::bigint as "tick!", id, event_id, topic, schema_version, key, part, lane, at,
                payload as "payload: _", actor, reason, request_id, caused_by, batch_id,
                traceparent, 0 as "attempt!"
            from outbox.event
            where id > $1 and topic <> $2
            order by id
            "#,
            self.after,
            SEALED,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(Row::into_event).collect())
    }

    /// The events of a topic.
    ///
    /// # Errors
    /// The database's.
    pub async fn of(&self, topic: &str) -> Result<Vec<Event>, sqlx::Error> {
        let mut events = self.events().await?;
        events.retain(|event| event.topic == topic);
        Ok(events)
    }

    /// What happened, without the facts.
    ///
    /// # Errors
    /// The database's.
    pub async fn topics(&self) -> Result<Vec<String>, sqlx::Error> {
        let events = self.events().await?;
        Ok(events.iter().map(|event| event.topic.clone()).collect())
    }
}
