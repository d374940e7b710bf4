//! Operations: what people do to consumers and their events. Each says who and why, and is written
//! down in the statement that does it.
//!
//! Owns `outbox.operation`.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use crate::event::PARTS;

mod forget;
mod generation;
mod pause;
mod replay;
mod reshard;

pub use forget::forget_stream;
pub use pause::{Paused, pause, paused, resume};
pub(crate) use replay::point_before;
pub use replay::{Start, replay};
pub use reshard::{Resharded, reshard, try_reshard};

/// Who does something, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct By {
    /// The person or program.
    pub actor: String,
    /// Why.
    pub reason: String,
}

/// Nobody would know later who ordered it, or why. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "say in a line who orders this and why: neither is blank, and neither longer than {WORDS} \
     characters"
)]
pub struct Unsigned;

/// The longest name and the longest reason, in characters.
const WORDS: usize = 500;

impl By {
    pub(crate) fn refuse_unsigned(&self) -> Result<(), Unsigned> {
        let is_line = |words: &str| {
            let is_said = !words.trim().is_empty() && words.chars().count() <= WORDS;
            is_said && !words.contains(char::is_control)
        };
        match is_line(&self.actor) && is_line(&self.reason) {
            true => Ok(()),
            false => Err(Unsigned),
        }
    }
}

/// Why an operation was not done. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OperationError {
    /// Nobody says why.
    #[error(transparent)]
    Unsigned(#[from] Unsigned),
    /// No consumer has the name.
    #[error("there is no consumer \"{name}\"; there are: {}", known.join(", "))]
    UnknownConsumer {
        /// The name that was given.
        name: String,
        /// Those of the log.
        known: Vec<String>,
    },
    /// No stream has the name.
    #[error("no stream \"{name}\" was filled from this log; there are: {}", known.join(", "))]
    UnknownStream {
        /// The name that was given.
        name: String,
        /// Those that were.
        known: Vec<String>,
    },
    /// Its handler was not declared fit to see an event twice.
    #[error(
        "\"{name}\" must not be replayed: its program does not say that its handler may see an \
         event twice (`replayable` in its specification)"
    )]
    NotReplayable {
        /// The consumer.
        name: String,
    },
    /// Calls to the outside are under way.
    #[error(
        "\"{name}\" has calls under way: pause it, and repeat this when they have ended (within \
         {seconds} s)"
    )]
    Busy {
        /// The consumer.
        name: String,
        /// When the last claim runs out, seconds from now.
        seconds: i64,
    },
    /// The start lies outside of the log.
    #[error("the log holds the ticks {first} to {last}, not {asked}")]
    OutsideTheLog {
        /// The first tick that is kept.
        first: i64,
        /// The newest.
        last: i64,
        /// The one that was asked for.
        asked: i64,
    },
    /// Nothing was appended since then.
    #[error("it is not {since} yet: by the database's clock it is {now}")]
    InTheFuture {
        /// The instant that was asked for.
        since: DateTime<Utc>,
        /// The database's.
        now: DateTime<Utc>,
    },
    /// No time lies between.
    #[error("no instant is both since {since} and before {until}")]
    NoTimeBetween {
        /// The beginning that was asked for.
        since: DateTime<Utc>,
        /// The end.
        until: DateTime<Utc>,
    },
    /// A pause that ends when it begins.
    #[error("a pause takes a second or longer")]
    NoPause,
    /// No such number of shards is possible.
    #[error("the keys can be divided into 1 to {PARTS} shards, not {0}")]
    ShardsOutOfRange(i16),
    /// Nothing to do.
    #[error("\"{name}\" is read in {shards} shards already")]
    SameShards {
        /// The consumer.
        name: String,
        /// Its shards.
        shards: i16,
    },
    /// Too many events lie between its first shard and its last.
    #[error(
        "the shards of \"{name}\" stand more than {most} events apart: let its workers catch up, \
         and repeat this when `outbox-relay status` shows few unread events"
    )]
    TooFarApart {
        /// The consumer.
        name: String,
        /// How many events may lie between.
        most: usize,
    },
    /// The database's.
    #[error("the database refused")]
    Database(#[from] sqlx::Error),
}

/// The consumer's id.
pub(crate) async fn known(pool: &PgPool, name: &str) -> Result<i16, OperationError> {
    let found = sqlx::query!(
        "
        -- operation: consumers
        select consumer, name from outbox.consumer order by name
        "
    )
    .fetch_all(pool)
    .await?;
    if let Some(row) = found.iter().find(|row| row.name == name) {
        return Ok(row.consumer);
    }
    Err(OperationError::UnknownConsumer {
        name: name.to_owned(),
        known: found.into_iter().map(|row| row.name).collect(),
    })
}
