//! Transports carry the log from the relay to the workers. A position means the same in each, so
//! that they can be exchanged without loss or repeats.

use std::sync::Arc;

use sqlx::PgPool;
use tokio::sync::watch;

use crate::event::{Lane, LogPoint};
use crate::wake::Listener;
use crate::worker::Pulse;

#[cfg(feature = "nats")]
pub mod jetstream;
pub mod postgres;

use postgres::Page;

/// From where the workers of a process read the log.
#[derive(Debug, Clone, Default)]
pub enum Transport {
    /// From the database itself.
    #[default]
    Postgres,
    /// From streams that the relay's [`jetstream::Publisher`] fills.
    #[cfg(feature = "nats")]
    JetStream(Box<jetstream::JetStream>),
}

/// Reads the log for all consumers of a process.
#[derive(Debug, Clone)]
pub(crate) enum Reader {
    Postgres(postgres::Reader),
    #[cfg(feature = "nats")]
    JetStream(Box<jetstream::Reader>),
}

impl Reader {
    pub(crate) fn new(
        transport: &Transport,
        pool: PgPool,
        topics: impl IntoIterator<Item = String>,
        heard: (Listener, watch::Receiver<Pulse>),
    ) -> Self {
        let postgres = postgres::Reader::new(pool.clone(), topics, heard);
        match transport {
            Transport::Postgres => Self::Postgres(postgres),
            #[cfg(feature = "nats")]
            Transport::JetStream(streams) => {
                let streams = (**streams).clone();
                Self::JetStream(Box::new(jetstream::Reader::new(streams, pool, postgres)))
            }
        }
    }

    /// The page that holds what comes next after a point, or nothing when there is none yet.
    pub(crate) async fn page(
        &self,
        lane: Lane,
        after: LogPoint,
        topics: &[String],
    ) -> Result<Option<Arc<Page>>, sqlx::Error> {
        match self {
            Self::Postgres(reader) => reader.page(lane, after, topics).await,
            #[cfg(feature = "nats")]
            Self::JetStream(reader) => reader.page(lane, after, topics).await,
        }
    }

    /// Whether a wake-up says that there is something to read: a stream has it a moment later.
    pub(crate) fn is_read_at_the_wake_up(&self) -> bool {
        match self {
            Self::Postgres(_) => true,
            #[cfg(feature = "nats")]
            Self::JetStream(_) => false,
        }
    }

    /// Forgets all pages: the ticks they name may be gone.
    pub(crate) async fn forget(&self) {
        match self {
            Self::Postgres(reader) => reader.forget().await,
            #[cfg(feature = "nats")]
            Self::JetStream(reader) => reader.forget().await,
        }
    }
}
