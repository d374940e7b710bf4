//! How far a batch has come, and how it ends.

use uuid::Uuid;

use crate::delivery::Parking;
use crate::event::Event;
use crate::position::{Cursor, Move};
use crate::worker::runner::Batch;

/// What ends with a settlement.
#[derive(Debug, Clone, Copy)]
pub(super) enum Close {
    /// A round: more of the batch is to come.
    Round,
    /// The batch, or what of it there was time for: the position moves on.
    Batch(Move),
    /// The claim: nothing is under way while we wait, so another process may have the shard.
    Claim,
}

/// What has come together over the rounds of a batch.
pub(super) struct Progress {
    pub(super) cursor: Cursor,
    pub(super) parked: Vec<(Event, Parking)>,
}

impl Progress {
    pub(super) fn has_parked(&self, key: Uuid) -> bool {
        self.parked.iter().any(|(event, _)| event.key == key)
    }
}

/// Time is up: the position moves up to the first event that nobody called for.
pub(super) fn cut(batch: &Batch, left: &[Event]) -> Close {
    let first = left.iter().map(|event| event.point).min();
    match first.and_then(|first| batch.before(first)) {
        Some(step) => Close::Batch(step),
        None => Close::Round,
    }
}
