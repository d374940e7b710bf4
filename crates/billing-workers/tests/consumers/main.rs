//! What the consumers promise, from a month's usage to its figures and files, on a database of each
//! test's own.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod checks;
mod documents;
mod figures;
mod settled;
mod world;
