//! What the month close, its ledger and its checks promise, tried on a database of each test's own.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod books;
mod checking;
mod closing;
mod collecting;
mod exceptions;
mod finding;
mod frozen;
mod hosting;
mod interrupted;
mod kept;
mod months;
mod opening;
mod paying;
mod plants;
mod racing;
mod rated_twice;
mod references;
mod rolling;
mod sample;
mod subscriptions;
mod told;
