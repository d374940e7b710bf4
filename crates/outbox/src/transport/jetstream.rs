//! The log carried by NATS JetStream: one stream per lane, readable by other teams' services as
//! `CloudEvents`.
//!
//! A stream holds consecutive events of its lane. Each message names its own place in the log and
//! that of the message before it, so a reader sees by itself whether something is missing, and the
//! server keeps no acknowledgements. Postgres stays the truth: what a stream lost is filled in from
//! the log, and what lies before its first message is read there.

use async_nats::jetstream::context::{CreateStreamError, GetStreamError};
use async_nats::jetstream::{self, stream};
use std::time::Duration;

use crate::event::Lane;

mod connect;
mod headers;
mod publish;
mod read;

pub use connect::{Access, ConnectError};
pub use publish::{PublishError, Publisher};
pub(crate) use read::Reader;

/// The server remembers message ids at least this long. The chain needs no such memory, and after
/// a loss of the tail it would swallow what is filled in.
const DUPLICATE_WINDOW: Duration = Duration::from_millis(100);

/// The streams of one log.
#[derive(Debug, Clone)]
pub struct JetStream {
    context: jetstream::Context,
    prefix: String,
    source: String,
    replicas: usize,
}

impl JetStream {
    /// Streams named `<prefix>_<lane>` with subjects `<prefix>.<lane>.<part>`. The prefix tells the
    /// logs apart that feed one NATS cluster: letters, digits, `-` and `_`.
    #[must_use]
    pub fn new(client: async_nats::Client, prefix: &str) -> Self {
        Self {
            context: jetstream::new(client),
            prefix: prefix.to_owned(),
            source: format!("/{prefix}"),
            replicas: 1,
        }
    }

    /// On how many servers a new stream is kept: 3 in a cluster.
    #[must_use]
    pub fn replicas(self, replicas: usize) -> Self {
        Self { replicas, ..self }
    }

    /// The name of a lane's stream.
    #[must_use]
    pub fn stream(&self, lane: Lane) -> String {
        format!("{}_{}", self.prefix, name(lane))
    }

    fn subject(&self, lane: Lane, part: impl std::fmt::Display) -> String {
        format!("{}.{}.{part}", self.prefix, name(lane))
    }

    /// An existing stream stays as its operators have set it up.
    async fn ensure(&self, lane: Lane) -> Result<stream::Stream, CreateStreamError> {
        let config = stream::Config {
            name: self.stream(lane),
            subjects: vec![self.subject(lane, ">")],
            num_replicas: self.replicas,
            duplicate_window: DUPLICATE_WINDOW,
            allow_direct: true,
            ..Default::default()
        };
        self.context.get_or_create_stream(config).await
    }

    async fn existing(&self, lane: Lane) -> Result<stream::Stream, GetStreamError> {
        self.context.get_stream(self.stream(lane)).await
    }
}

const fn name(lane: Lane) -> &'static str {
    match lane {
        Lane::Interactive => "interactive",
        Lane::Bulk => "bulk",
    }
}
