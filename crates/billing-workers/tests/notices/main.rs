//! What customers are told, and how mail leaves, on a database of each test's own.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod engine;
mod files;
mod server;
mod smtp;
mod telling;
mod world;
