//! From a file or a meter to sums that a close can read.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod accounts;
mod bad_files;
mod import;
mod periods;
mod record;
mod world;
