//! For the tests of who uses this crate (feature `testing`): handle everything, see what was
//! appended, let time pass.
//!
//! ```
//! use std::time::Duration;
//!
//! use outbox::{
//!     ConsumerSpec, Event, Failure, NewEvent, Obsolete, Origin, Outbox, Transactional, UnitOfWork,
//!     Worker, WorkerConfig, testing,
//! };
//!
//! /// Packs what was ordered; says so with an event of its own.
//! struct Warehouse;
//!
//! impl Transactional for Warehouse {
//!     async fn apply(
//!         &self,
//!         tx: &mut UnitOfWork,
//!         events: &[Event],
//!     ) -> Result<Vec<Obsolete>, Failure> {
//!         for event in events {
//!             let locked = tx.locked(event.key);
//!             tx.append(locked, NewEvent::new("parcel.packed", 1, serde_json::json!({})));
//!         }
//!         Ok(Vec::new())
//!     }
//! }
//!
//! fn worker(outbox: &Outbox) -> Worker {
//!     let mut worker = Worker::new(outbox.clone(), WorkerConfig::default());
//!     worker.transactional(ConsumerSpec::new("warehouse", &["order.placed"]), Warehouse);
//!     worker
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let server = local_postgres::LocalPostgres::start(folder.path())?;
//! # let pool = sqlx::PgPool::connect(&server.url()).await?;
//! # outbox::migrate(&pool).await?;
//! let outbox = Outbox::new(pool); // of a database that the test has for itself
//! let log = testing::Log::from_here(&outbox).await?;
//!
//! // An order that is to be packed in an hour.
//! let mut tx = outbox.begin(Origin::of("customer")).await?;
//! let locked = tx.locked(outbox::ids::new());
//! let later = outbox::clock::now() + Duration::from_secs(3600);
//! tx.append_at(locked, later, NewEvent::new("order.placed", 1, serde_json::json!({})));
//! tx.commit().await?;
//!
//! testing::drain(worker(&outbox)).await?;
//! assert!(log.topics().await?.is_empty());
//!
//! testing::advance(&outbox, Duration::from_secs(3600)).await?;
//! testing::drain(worker(&outbox)).await?;
//! assert_eq!(log.topics().await?, ["order.placed", "parcel.packed"]);
//! # Ok(())
//! # }
//! ```
//!
//! **Time.** Due times and leases are counted by the database's clock, which no test can stop. So
//! [`advance`] moves what waits towards now instead, and [`drain`] waits for nothing that is not
//! due. Business time is a value of your own functions, and no concern of the engine.
//!
//! **A handler by itself** needs no log: [`crate::Recorded::unlogged`] makes the event,
//! [`crate::Outbox::begin`] the unit of work, [`announced`] tells what it would append, and a drop
//! rolls it back.

mod drain;
mod log;

use std::time::Duration;

use uuid::Uuid;

use crate::append::{Outbox, UnitOfWork};
use crate::clock::micros;
use crate::event::NewEvent;

pub use self::drain::{DrainError, drain, drain_within};
pub use self::log::Log;

/// What a unit of work will append when it commits, each event with its key, in order. Planned
/// events and the ends of batches are not among them.
#[must_use]
pub fn announced(tx: &UnitOfWork) -> Vec<(Uuid, NewEvent)> {
    tx.announced()
}

/// Lets time pass for what waits in the database: planned events, retries, the deadlines of calls,
/// pauses, throttles and the windows of unique events are all `by` nearer, or further in the past.
///
/// Three things stay as they are. A schedule's slots are facts of the calendar: append the event of
/// a slot yourself. A consumer whose provider was unavailable waits in its process: a new
/// [`crate::Worker`] does not. And the instants that were written down, such as an event's `at`.
///
/// # Errors
/// The database's.
pub async fn advance(outbox: &Outbox, by: Duration) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "
        -- testing: let time pass
        with step as (
            select $1::bigint * interval '1 microsecond' as by
        ),
        timers as (
            update outbox.timer set due_at = due_at - by from step
        ),
        deliveries as (
            update outbox.delivery set next_at = next_at - by, deadline = deadline - by from step
        ),
        windows as (
            update outbox.unique_event set until = until - by from step
        ),
        throttles as (
            update outbox.throttle set tat = tat - by, paused_until = paused_until - by from step
        )
        update outbox.consumer set paused_until = paused_until - by from step
        ",
        micros(by),
    )
    .execute(outbox.pool())
    .await
    .map(drop)
}
