//! Owns the schema `outbox`, and knows no word of the product that uses it.
#![doc = include_str!("../README.md")]

mod append;
mod backlog;
mod backoff;
pub mod batch;
mod breaker;
mod cancel;
pub mod clock;
mod consumer;
pub mod copy;
pub mod delivery;
mod event;
pub mod failpoint;
mod guard;
pub mod ids;
mod member;
pub mod metrics;
mod migrate;
mod mutant;
pub mod operation;
pub mod planted;
mod position;
mod relay;
mod restore;
pub mod retention;
pub mod schedule;
pub mod status;
mod supervise;
mod tail;
#[cfg(feature = "testing")]
pub mod testing;
pub mod throttle;
mod tick;
pub mod timer;
mod trace;
pub mod transport;
mod trouble;
pub mod unique;
mod upcast;
mod wake;
mod worker;

pub use append::{CommitError, Locked, Origin, Outbox, UnitOfWork};
pub use backlog::{
    Backlog, BacklogWatch, Mark, Rest, Since, backlog, handled, pending, unread_estimate,
};
pub use backoff::Backoff;
pub use batch::{Batch, NewBatch};
pub use cancel::Cancelled;
pub use consumer::{
    Act, ConsumerSpec, Dedupe, External, Failure, Load, Obsolete, OnDead, Transactional, register,
};
pub use event::{Event, Lane, LogPoint, NewEvent, PARTS, Payload, Recorded, part_of};
pub use guard::{GuardError, refuse_unsafe_server};
pub use member::live_consumers;
pub use migrate::{MIGRATOR, is_migrated, migrate, migrate_with};
pub use relay::{Cut, Relay};
pub use restore::{RebaseError, Rebased, RestoreError, rebase, refuse_foreign_log};
pub use supervise::RunError;
pub use tail::Tail;
pub use throttle::Throttle;
pub use upcast::Upcaster;
pub use wake::Waker;
pub use worker::{Worker, WorkerConfig};
