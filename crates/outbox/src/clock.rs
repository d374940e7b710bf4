//! The one place that reads the wall clock. Rules take time as a value; leases, retries and
//! heartbeats ask the database's clock, which all processes share.

use chrono::{DateTime, Utc};

/// The instant of now, to be read once at the edge of a program and passed on as a value.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "this is the place the others are sent to"
)]
pub fn now() -> DateTime<Utc> {
    Utc::now()
}

/// Waits, for a loop that polls. Work that can be woken waits for its wake-up instead.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the place the others are sent to"
)]
pub async fn pause(time: std::time::Duration) {
    tokio::time::sleep(time).await;
}

/// A time for the database's arithmetic, in microseconds.
pub(crate) fn micros(time: std::time::Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}
