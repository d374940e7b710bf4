//! The instant of a request, no finer than the tables keep it: an answer that is asked for again
//! must not differ in digits that were lost on the way.

use chrono::{DateTime, SubsecRound as _, Utc};
use outbox::clock;

/// Postgres keeps microseconds.
const DIGITS: u16 = 6;

/// The instant of now.
pub(crate) fn now() -> DateTime<Utc> {
    clock::now().trunc_subsecs(DIGITS)
}
