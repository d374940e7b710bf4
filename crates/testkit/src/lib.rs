//! For tests: a database of one's own, and waiting without sleeping.
//!
//! All tests of a run share one private Postgres under the target directory. It is as durable as
//! the one in production: a test must not pass because a setting was relaxed. `cargo xtask test`
//! keeps it up for a whole run; under `cargo test` and `cargo nextest run` the tests that overlap
//! share it, and the last one stops it.

mod copies;
mod database;
mod keeper;
mod link;
mod nats;
mod programs;
mod server;
mod template;
mod trouble;
mod wait;

pub use copies::{dump, restore};
pub use database::TestDb;
pub use link::{Far, Link};
pub use nats::nats_server;
pub use programs::build_programs;
pub use server::Server;
pub use template::Template;
pub use trouble::{Ack, Trouble};
pub use wait::until;
