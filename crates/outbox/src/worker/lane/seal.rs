//! Passing a seal: what comes before it is handled first, and its batch looks whether it is done.

use std::sync::Arc;
use std::time::Instant;

use super::{LaneLoop, Step, shard};
use crate::event::{Event, LogPoint};
use crate::position::{self, Move};
use crate::transport::postgres::Page;
use crate::worker::runner::Runner;

/// The first seal on a page beyond a point.
pub(super) fn first_after(page: &Page, point: LogPoint) -> Option<LogPoint> {
    page.seals.iter().copied().find(|seal| point < *seal)
}

impl<R: Runner> LaneLoop<R> {
    /// The first seal of a page that a shard of ours stands before, with nothing in between.
    pub(super) fn next_seal(&self, page: &Page) -> Option<Event> {
        let mut seals = page.seals.iter();
        let next = seals.find(|seal| !self.before(page, **seal).is_empty())?;
        page.events
            .iter()
            .find(|event| event.point == *next)
            .cloned()
    }

    /// Our shards that stand before a seal with nothing in between.
    fn before(&self, page: &Page, seal: LogPoint) -> Vec<i16> {
        let subscription = self.runner.subscription();
        let shards = self.registered.shards;
        let held = self.shards.iter().filter(|(number, held)| {
            let mut between = page.events.iter().filter(|event| {
                held.scanned < event.point
                    && event.point < seal
                    && event.part % shards == **number
                    && subscription.reads(event)
            });
            first_after(page, held.scanned) == Some(seal) && between.next().is_none()
        });
        held.map(|(number, _)| *number).collect()
    }

    /// Moves the shards that stand before a seal past it: their positions, and what the batch makes
    /// of them, in one transaction.
    pub(super) async fn pass_seal(
        &mut self,
        page: &Arc<Page>,
        seal: Event,
    ) -> Result<Step, sqlx::Error> {
        let numbers = self.before(page, seal.point);
        let subscription = self.runner.subscription();
        let step = Move {
            to: seal.point,
            cut_at: page.cut_at(seal.point),
            passed: 0,
        };
        let moves: Vec<_> = numbers
            .iter()
            .filter_map(|number| {
                let cursor = self.shards.get(number)?.cursor;
                Some((shard(self.registered, self.lane, *number), cursor, step))
            })
            .collect();
        let origin = subscription.origin(self.lane, Some(&seal));
        let mut tx = subscription.context.outbox.begin_worker(origin).await?;
        let Some(cursors) = position::advance_all(&mut tx, &moves).await? else {
            return Ok(self.start_over().await);
        };
        tx.duties().pass(&seal);
        tx.commit().await.map_err(|error| error.0)?;
        for (number, cursor) in numbers.into_iter().zip(cursors) {
            if let Some(held) = self.shards.get_mut(&number) {
                held.cursor = cursor;
                held.written = Instant::now();
                held.pass(page, seal.point);
            }
        }
        Ok(Step::More)
    }
}
