//! Following the log as it grows: for people, and for programs that only watch. Nothing is written,
//! so nobody knows how far a follower has come.

use sqlx::PgPool;
use uuid::Uuid;

use crate::event::{Event, Lane, LogPoint};
use crate::operation::{self, OperationError, Start};
use crate::transport::postgres;

const PAGE: i64 = 1_000;

/// A place in the log, and what is wanted of what follows.
#[derive(Debug)]
pub struct Tail {
    pool: PgPool,
    after: LogPoint,
    topics: Option<Vec<String>>,
    key: Option<Uuid>,
}

impl Tail {
    /// Begins at a start; where the log ends now if there is none.
    ///
    /// # Errors
    /// [`OperationError::OutsideTheLog`], [`OperationError::InTheFuture`], or the database's.
    pub async fn from(pool: PgPool, start: Option<Start>) -> Result<Self, OperationError> {
        let mut conn = pool.acquire().await?;
        let after = operation::point_before(&mut conn, start).await?;
        drop(conn);
        Ok(Self {
            pool,
            after,
            topics: None,
            key: None,
        })
    }

    /// Only events of these topics; of all when empty.
    #[must_use]
    pub fn of_topics(mut self, topics: Vec<String>) -> Self {
        self.topics = Some(topics).filter(|topics| !topics.is_empty());
        self
    }

    /// Only events of this ordering key.
    #[must_use]
    pub fn of_key(mut self, key: Option<Uuid>) -> Self {
        self.key = key;
        self
    }

    /// The next events of both lanes in the log's order; nothing when the log ends here for now.
    ///
    /// # Errors
    /// The database's.
    pub async fn next(&mut self) -> Result<Option<Vec<Event>>, sqlx::Error> {
        let mut conn = self.pool.acquire().await?;
        let mut pages = Vec::new();
        for lane in Lane::ALL {
            let wanted = (lane, self.topics.as_deref());
            pages.extend(postgres::read_some(&mut conn, wanted, self.after, PAGE).await?);
        }
        // Between two looks another tick may be cut: the lane that was read first ends before it.
        let Some(to) = pages.iter().map(|page| page.to).min() else {
            return Ok(None);
        };
        if pages.len() < Lane::ALL.len() {
            return Ok(Some(Vec::new()));
        }
        let mut events: Vec<Event> = pages.into_iter().flat_map(|page| page.events).collect();
        events.retain(|event| event.point <= to && self.key.is_none_or(|key| key == event.key));
        events.sort_unstable_by_key(|event| event.point);
        self.after = to;
        Ok(Some(events))
    }
}
