//! The domain: from usage to final invoices, their ledger and their documents.
//!
//! Cut by the nouns of billing. A noun's rule is in `noun.rs` and its SQL in `noun/store.rs`. Each
//! writer takes an [`outbox::UnitOfWork`] first and appends the events that announce what it wrote,
//! so neither a change nor its announcement can be committed alone.
//!
//! Owns the schema `billing`. Time is always a parameter: no module asks a clock.

pub mod account;
pub mod check;
pub mod credit;
pub mod document;
pub mod dunning;
pub mod finding;
pub mod gateway;
pub mod history;
pub mod hold;
pub mod ids;
pub mod import;
pub mod invoice;
pub mod ledger;
mod migrate;
pub mod money;
pub mod month_close;
pub mod notice;
pub mod owed;
pub mod payment;
pub mod payment_method;
pub mod period;
pub mod price;
pub mod reconciliation;
pub mod refund;
pub mod report;
pub mod subscription;
mod text;
pub mod usage;

pub use migrate::{MIGRATOR, migrate};
pub use text::TextProblem;
