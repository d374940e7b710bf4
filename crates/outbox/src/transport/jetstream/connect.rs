//! The way to the NATS server.

use std::path::PathBuf;

use async_nats::{ConnectOptions, Event};

use super::JetStream;

/// How a NATS server is reached.
#[derive(Debug, Clone)]
pub struct Access {
    /// Its address; `tls://…` for TLS.
    pub url: String,
    /// A file with a user's JWT and seed.
    pub credentials: Option<PathBuf>,
    /// A file with the certificates to trust; it makes TLS a must.
    pub ca: Option<PathBuf>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The file cannot be read.
    #[error("the NATS credentials in {0} cannot be read")]
    Credentials(PathBuf, #[source] std::io::Error),
    /// Nobody answers, or refuses.
    #[error("the NATS server cannot be reached: does it run there, and does it know this user?")]
    Unreachable(#[from] async_nats::ConnectError),
}

impl JetStream {
    /// Connects. A server that is away at the start is an error; later it is waited for.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn connect(access: &Access, prefix: &str) -> Result<Self, ConnectError> {
        let mut options = ConnectOptions::new().name("outbox").event_callback(report);
        if let Some(file) = &access.credentials {
            options = (options.credentials_file(file).await)
                .map_err(|error| ConnectError::Credentials(file.clone(), error))?;
        }
        if let Some(file) = &access.ca {
            options = options
                .add_root_certificates(file.clone())
                .require_tls(true);
        }
        let client = options.connect(&access.url).await?;
        Ok(Self::new(client, prefix))
    }
}

async fn report(event: Event) {
    match event {
        Event::Connected => tracing::info!("Connected to NATS"),
        Event::Disconnected => tracing::warn!("NATS is away; events wait in the database"),
        event => tracing::warn!("NATS: {event}"),
    }
}
