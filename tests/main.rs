//! The product's promises, each kept by the programs that people run.
//!
//! Black box: a test starts `month-close`, `outbox-relay` and `billing-api` as a shell would, and
//! judges by what they print, write and leave in the database.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod scene;

mod checks;
mod cloud;
mod collect;
mod commands;
mod crash;
mod database;
mod disk;
mod dry_run;
mod exceptions;
mod input;
mod late_usage;
mod nats;
mod operators;
mod replaced;
mod sample;
mod together;
mod workers;
