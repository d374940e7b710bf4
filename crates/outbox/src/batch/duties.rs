//! What a unit of work owes to batches when it commits.
//!
//! All of it is done in the flush, when every other lock has been taken, and batch by batch in the
//! order of their ids: so nobody who waits for a batch holds one that another waits for.

use std::collections::BTreeMap;

use sqlx::PgConnection;
use uuid::Uuid;

use super::look::{self, Seal};
use crate::event::{Event, Lane};
use crate::mutant::{self, Mutant};

/// By batch.
#[derive(Debug, Default)]
pub(crate) struct Duties(BTreeMap<Uuid, Duty>);

#[derive(Debug, Default)]
struct Duty {
    /// Members are appended; whether by handlers of members.
    joins: Option<bool>,
    seals: bool,
    looks: bool,
    passed: Option<Seal>,
}

impl Duties {
    /// Members are appended to a batch.
    pub(crate) fn join(&mut self, batch: Uuid, follows: bool) {
        let joins = &mut self.0.entry(batch).or_default().joins;
        // One from outside is enough to want the batch open.
        *joins = Some(joins.is_none_or(|known| known) && follows);
    }

    /// A batch is sealed.
    pub(crate) fn seal(&mut self, batch: Uuid) {
        self.0.entry(batch).or_default().seals = true;
    }

    /// A delivery of a batch is no longer open.
    pub(crate) fn look(&mut self, batch: Uuid) {
        self.0.entry(batch).or_default().looks = true;
    }

    /// A position passed a seal.
    pub(crate) fn pass(&mut self, event: &Event) {
        let batch = event.key;
        match Seal::of(event) {
            Ok(seal) => {
                let duty = self.0.entry(batch).or_default();
                duty.looks = true;
                duty.passed = Some(seal);
            }
            Err(error) => tracing::error!(
                %error, %batch, "The seal of batch {batch} cannot be read, and the batch never ends"
            ),
        }
    }

    /// Takes part in the batches, seals and looks; answers which were sealed, and how many events
    /// were appended because a batch went on.
    pub(crate) async fn perform(
        self,
        tx: &mut PgConnection,
        lane: Lane,
    ) -> Result<(Vec<Uuid>, u64), sqlx::Error> {
        let mut sealed = Vec::new();
        for (batch, duty) in &self.0 {
            if duty.looks && !mutant::is(Mutant::BatchInOneStatement) {
                // The stronger lock first: two that raised theirs would wait for each other.
                look::lock(tx, *batch).await?;
            }
            if duty.seals {
                look::seal(tx, *batch, duty.joins.is_some(), lane).await?;
                sealed.push(*batch);
            } else if let Some(follows) = duty.joins {
                look::join(tx, *batch, lane, follows).await?;
            }
        }
        let mut appended = 0;
        for (batch, duty) in self.0.iter().filter(|(_, duty)| duty.looks) {
            if let Some(seal) = duty.passed {
                look::note(tx, *batch, seal).await?;
            }
            appended += look::look(tx, *batch).await?;
        }
        Ok((sealed, appended))
    }
}
