//! What the HTTP interface promises, over real connections to a real database.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod accounts;
mod client;
mod hostile;
mod leaving;
mod program;
mod reading;
mod scene;
