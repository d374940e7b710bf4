//! What the HTTP interface promises, over real connections to a real database.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod accounts;
mod cards;
mod client;
mod hostile;
mod leaving;
mod money;
mod program;
mod reading;
mod refunds;
mod sample;
mod scene;
mod settings;
mod signed;
mod webhooks;
