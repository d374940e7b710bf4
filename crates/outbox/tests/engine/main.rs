//! The engine's promises, tried on a real server. Where a promise is about a race, the naive design
//! is shown failing first.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod announce;
mod backlog;
mod batches;
mod cancelled;
mod copies;
mod dead_letters;
mod drained;
mod drawn;
mod due;
mod examples;
mod external;
mod fence;
mod guards;
mod host;
#[cfg(feature = "nats")]
mod jetstream;
mod lanes;
mod log;
mod lost_ticks;
mod members;
mod operations;
mod parked;
mod proxy;
mod races;
mod readers;
mod recovered;
mod recurring;
mod reshard;
mod restored;
mod retention;
mod scene;
mod schedule;
mod shop;
mod silent;
mod simulation;
mod slow;
mod throttles;
mod ticks;
mod timers;
mod topics;
mod transactional;
mod unique;
mod unit_of_work;
mod versions;
mod wake;
mod watching;
mod wrong;
