//! Batches: many events, and one event when all of them are handled.
//!
//! [`UnitOfWork::open_batch`] opens one, [`UnitOfWork::append_to`] appends its members in any
//! number of units of work, and [`UnitOfWork::seal`] ends that. Sealing appends an event that comes
//! past every shard of every consumer, whatever its topics; so a batch is done when all positions
//! have passed the seal and none of its deliveries is open. Then its callbacks are appended, once:
//! `succeeded` when no member was given up, `failed` when some were, `completed` in either case.
//!
//! - A member that is a dead letter, or waits behind one that halts its key, was given up. What
//!   counts is how it stands at the end: a dead letter that is redriven before may still succeed,
//!   and one that is redriven after changes nothing.
//! - What handlers of members append is part of the batch: behind the seal it is the next wave,
//!   which is sealed when this one is done. The batch is done after the last wave. Events planned
//!   for later are no members, and what is appended after the end is not waited for.
//! - Rows of bookkeeping: a few for the batch, and a position per shard that passes a seal. None
//!   for a member.
//!
//! The key of seals and callbacks is the batch's id, and the lock of its row stands for that key.
//!
//! Owns `outbox.batch`, `outbox.batch_callback`, `outbox.batch_wave`.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::append::{Locked, Origin, UnitOfWork};
use crate::event::{Event, NewEvent, part_of};

mod duties;
mod look;
mod progress;

pub(crate) use self::duties::Duties;
pub(crate) use self::look::first_seal;
pub use self::progress::{Progress, Reader, State, progress};

/// The topic of seals: read by all consumers, handed to none.
pub(crate) const SEALED: &str = "outbox.sealed";

/// A batch to which members are appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    batch_id: Uuid,
    /// Whether members are taken behind the seal.
    follows: bool,
}

impl Batch {
    /// A batch that was opened earlier, by a process that may have died.
    #[must_use]
    pub fn again(batch_id: Uuid) -> Self {
        let follows = false;
        Self { batch_id, follows }
    }

    /// The batch of an event. Handlers need not name it: what they append while they handle the
    /// event is waited for, too, though the batch is sealed.
    #[must_use]
    pub fn of(event: &Event) -> Option<Self> {
        let follows = true;
        event.batch_id.map(|batch_id| Self { batch_id, follows })
    }

    /// Takes members though it is sealed: they are the next wave. Whoever adds them must not mind
    /// that a batch which is over waits for nobody.
    #[must_use]
    pub fn even_sealed(self) -> Self {
        let follows = true;
        Self { follows, ..self }
    }

    /// Its id: the key of its callbacks.
    #[must_use]
    pub fn id(self) -> Uuid {
        self.batch_id
    }
}

/// A batch to be opened, with its callbacks.
#[derive(Debug, Clone)]
pub struct NewBatch {
    batch_id: Uuid,
    name: String,
    consumers: Option<Vec<String>>,
    callbacks: Vec<(&'static str, NewEvent)>,
}

impl NewBatch {
    /// A batch under a new id. The name is for people.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            batch_id: crate::ids::new(),
            name: name.into(),
            consumers: None,
            callbacks: Vec::new(),
        }
    }

    /// Waits for these consumers only, instead of all that are registered when it is sealed. One
    /// that nobody runs any more would be waited for for ever.
    #[must_use]
    pub fn until_handled_by(mut self, consumers: &[&str]) -> Self {
        self.consumers = Some(consumers.iter().map(ToString::to_string).collect());
        self
    }

    /// Appended when the batch is done and no member was given up.
    #[must_use]
    pub fn on_success(self, event: NewEvent) -> Self {
        self.on("succeeded", event)
    }

    /// Appended when the batch is done and some members were given up.
    #[must_use]
    pub fn on_failure(self, event: NewEvent) -> Self {
        self.on("failed", event)
    }

    /// Appended when the batch is done, however it ended.
    #[must_use]
    pub fn on_completion(self, event: NewEvent) -> Self {
        self.on("completed", event)
    }

    fn on(mut self, outcome: &'static str, event: NewEvent) -> Self {
        self.callbacks.retain(|(known, _)| *known != outcome);
        self.callbacks.push((outcome, event));
        self
    }
}

impl UnitOfWork {
    /// Opens a batch in the lane of this unit of work.
    ///
    /// # Errors
    /// The database's.
    pub async fn open_batch(&mut self, new: NewBatch) -> Result<Batch, sqlx::Error> {
        let origin = self.origin().clone();
        open(self, &new, &origin).await?;
        Ok(Batch::again(new.batch_id))
    }

    /// [`UnitOfWork::append`], of a member of a batch. When the unit of work commits, the batch
    /// must be open (or the member's handler adds to it) and its lane that of this unit of work.
    ///
    /// # Panics
    /// When the token is of another unit of work: its lock is gone.
    pub fn append_to(&mut self, batch: Batch, locked: Locked, event: NewEvent) -> Uuid {
        self.duties().join(batch.batch_id, batch.follows);
        self.append_member(batch.batch_id, locked, event)
    }

    /// Seals a batch when this unit of work commits, behind the members it appends: from then on
    /// only handlers of its members add to it.
    pub fn seal(&mut self, batch: Batch) {
        self.duties().seal(batch.batch_id);
    }
}

async fn open(tx: &mut PgConnection, new: &NewBatch, origin: &Origin) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "
        -- batch: open
        insert into outbox.batch (
            batch_id, name, lane, part, wanted, above_id,
            actor, reason, request_id, caused_by, traceparent
        )
        select $1, $2, $3, $4, $5,
            case when is_called then last_value else 0 end, $6, $7, $8, $9, $10
        from outbox.event_id
        ",
        new.batch_id,
        new.name,
        origin.lane.code(),
        part_of(new.batch_id),
        new.consumers.as_deref(),
        origin.actor,
        origin.reason,
        origin.request_id,
        origin.caused_by,
        origin.traceparent,
    )
    .execute(&mut *tx)
    .await?;
    for (outcome, event) in &new.callbacks {
        sqlx::query!(
            "
            -- batch: plan a callback
            insert into outbox.batch_callback
                (batch_id, outcome, event_id, topic, schema_version, payload)
            values ($1, $2, $3, $4, $5, $6::text::json)
            ",
            new.batch_id,
            outcome,
            event.event_id,
            event.topic,
            event.schema_version,
            event.payload.to_string(),
        )
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}
