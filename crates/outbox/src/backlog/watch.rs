//! Whether consumers are behind, asked again and again.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};

use super::{Backlog, Mark, Rest, deliveries, pending};
use crate::batch::SEALED;
use crate::event::{Event, Lane, LogPoint};
use crate::transport::postgres;

/// How many events are looked through at once.
const PAGE: i64 = 2_000;
/// A delivery that is due within that time is waited for.
const SOON: Duration = Duration::from_secs(30);

/// Looks at backlogs again and again: what a consumer had passed at one look is not read for the
/// next.
#[derive(Debug)]
pub struct BacklogWatch {
    pool: PgPool,
    soon: Duration,
    passed: BTreeMap<(String, Lane), Passed>,
}

/// How far a consumer had certainly come.
#[derive(Debug)]
struct Passed {
    to: LogPoint,
    /// Of its tick: a crash of the server can bring about another one of the same number.
    cut_at: DateTime<Utc>,
    /// What it read, and in which generation: of others, nothing is known.
    generation: i16,
    topics: Vec<String>,
}

/// Where a shard stands, and what its consumer reads.
struct Stand {
    shard: i16,
    shards: i16,
    generation: i16,
    topics: Vec<String>,
    tick: i64,
    id: i64,
}

impl Stand {
    fn point(&self) -> LogPoint {
        let (tick, id) = (self.tick, self.id);
        LogPoint { tick, id }
    }

    /// A seal is read by all shards: until the last has passed it, its batch has not ended.
    fn has_unread(&self, event: &Event) -> bool {
        let is_its = event.topic == SEALED || event.part % self.shards == self.shard;
        is_its && self.point() < event.point
    }
}

impl BacklogWatch {
    /// Begins to look at this log.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self {
            pool,
            soon: SOON,
            passed: BTreeMap::new(),
        }
    }

    /// Within which time a delivery is due and does not wait; from the next look on.
    pub fn wait_for(&mut self, soon: Duration) {
        self.soon = soon;
    }

    /// What these consumers leave once all that is committed is published and handled, but for what
    /// waits; nothing as long as there is something to do. Ask again then: it is asked of one after
    /// the other while others work, and says "something" when in doubt. A consumer that is not
    /// registered has nothing to do.
    ///
    /// # Errors
    /// The database's.
    pub async fn rest(&mut self, names: &[&str]) -> Result<Option<Rest>, sqlx::Error> {
        let mark = Mark::now(&self.pool).await?;
        if pending(&self.pool).await? > 0 {
            return Ok(None);
        }
        let mut rest = Rest::default();
        for name in names {
            let backlog = self.look(name).await?;
            if backlog.behind || backlog.due > 0 {
                return Ok(None);
            }
            rest.waiting += backlog.waiting;
            rest.dead += backlog.dead;
        }
        // What was committed meanwhile may be for a consumer that was asked before.
        let since = mark.since(&self.pool).await?;
        Ok((since.appended == 0).then_some(rest))
    }

    /// What the consumer `name` has still to do now; nothing for one that is not registered.
    ///
    /// # Errors
    /// The database's.
    pub async fn look(&mut self, name: &str) -> Result<Backlog, sqlx::Error> {
        let mut behind = false;
        for lane in Lane::ALL {
            behind |= self.is_behind(name, lane).await?;
        }
        // Only now: an event that ends in trouble becomes a delivery when its position is passed,
        // and whoever asked the other way round could miss it in both.
        let backlog = deliveries(&self.pool, name, self.soon).await?;
        Ok(Backlog { behind, ..backlog })
    }

    /// Positions are written lazily over events of other topics, so "at the end of the log" has to
    /// be asked of the events, not of the numbers.
    async fn is_behind(&mut self, name: &str, lane: Lane) -> Result<bool, sqlx::Error> {
        let mut conn = self.pool.acquire().await?;
        let shards = stands(&mut conn, name, lane).await?;
        let Some(first) = shards.first() else {
            return Ok(false);
        };
        let known = (name.to_owned(), lane);
        let mut after = shards.iter().map(Stand::point).min().unwrap_or_default();
        if let Some(passed) = self.passed.get(&known)
            && passed.holds(&mut conn, first).await?
        {
            after = after.max(passed.to);
        }
        let own = first.topics.iter().cloned();
        let topics: Vec<String> = own.chain([SEALED.to_owned()]).collect();
        while let Some(page) =
            postgres::read_some(&mut conn, (lane, Some(&topics)), after, PAGE).await?
        {
            let unread = (page.events.iter())
                .any(|event| shards.iter().any(|shard| shard.has_unread(event)));
            if unread {
                return Ok(true);
            }
            after = page.to;
            let passed = Passed {
                to: after,
                cut_at: page.cut_at(after),
                generation: first.generation,
                topics: first.topics.clone(),
            };
            self.passed.insert(known.clone(), passed);
        }
        Ok(false)
    }
}

impl Passed {
    async fn holds(&self, conn: &mut PgConnection, now: &Stand) -> Result<bool, sqlx::Error> {
        if (self.generation, &self.topics) != (now.generation, &now.topics) {
            return Ok(false);
        }
        let is_there = sqlx::query_scalar!(
            r#"
            -- backlog: whether a tick is the one that was read
            select exists (select from outbox.tick where n = $1 and at = $2) as "is_there!"
            "#,
            self.to.tick,
            self.cut_at,
        );
        is_there.fetch_one(conn).await
    }
}

async fn stands(
    conn: &mut PgConnection,
    name: &str,
    lane: Lane,
) -> Result<Vec<Stand>, sqlx::Error> {
    sqlx::query_as!(
        Stand,
        "
        -- backlog: positions
        select newest.shard, shards, generation, topics, newest.tick, newest.id
        from outbox.consumer
        cross join generate_series(0, shards - 1) as number
        cross join lateral (
            select shard, tick, id
            from outbox.position
            where position.consumer = consumer.consumer
                and position.generation = consumer.generation
                and lane = $2
                and shard = number
            order by n desc
            limit 1
        ) as newest
        where name = $1
        ",
        name,
        lane.code(),
    )
    .fetch_all(conn)
    .await
}
