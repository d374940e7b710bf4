//! What the gateway promises, asked over HTTP like any gateway.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod behaviours;
mod caller;
mod cancelling;
mod crashes;
mod keys;
mod profiles;
mod receiver;
mod refunds;
mod refusals;
mod scene;
mod sharing;
mod statement;
mod webhooks;
