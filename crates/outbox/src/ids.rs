//! Ids are UUIDv7: unique without asking the database, and roughly in order of time, so that an
//! index on them grows at one end.

use uuid::Uuid;

/// A new id.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "this is the place the others are sent to"
)]
pub fn new() -> Uuid {
    Uuid::now_v7()
}
