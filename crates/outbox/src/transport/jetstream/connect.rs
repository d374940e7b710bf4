//! The way to the NATS server.

use std::error::Error as _;
use std::io;
use std::path::{Path, PathBuf};

use async_nats::{ConnectErrorKind, ConnectOptions, Event, ServerAddr, rustls};
use percent_encoding::percent_decode_str;

use super::JetStream;

/// The largest message, in bytes: an event's facts and its headers, which the log bounds.
const MESSAGE: usize = 300_000;

/// How a NATS server is reached.
#[derive(Debug, Clone)]
pub struct Access {
    /// Its address; `tls://…` for TLS. A user and a password may stand in it, percent-encoded.
    pub url: String,
    /// A file with a user's JWT and seed, or with the seed of an nkey.
    pub credentials: Option<PathBuf>,
    /// A file with the certificates to trust; it makes TLS a must.
    pub ca: Option<PathBuf>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No address.
    #[error("the NATS server's address is none: it reads like tls://user:password@host:4222")]
    Address(#[source] io::Error),
    /// The file cannot be read, or holds something else.
    #[error(
        "the NATS credentials in {0} cannot be used: the file holds a user's JWT and seed \
         (.creds), or the seed of an nkey"
    )]
    Credentials(PathBuf, #[source] io::Error),
    /// The file cannot be read.
    #[error("the certificates in {0}, which the NATS server's is checked by, cannot be read")]
    Certificates(PathBuf, #[source] io::Error),
    /// It does not let us in.
    #[error(
        "the NATS server does not let this user in: give its credentials in a file, or a user and \
         a password in the address"
    )]
    Refused(#[source] async_nats::ConnectError),
    /// It cannot be believed.
    #[error(
        "the NATS server speaks no TLS that we trust: is its certificate for this host, and by an \
         authority among those to trust?"
    )]
    Untrusted(#[source] async_nats::ConnectError),
    /// An event may be larger than it lets through, and would hold up all behind it.
    #[error(
        "the NATS server takes messages of at most {0} bytes: set its `max_payload` to {MESSAGE} \
         or more"
    )]
    SmallMessages(usize),
    /// Nobody answers.
    #[error("the NATS server cannot be reached: does it run there?")]
    Unreachable(#[source] async_nats::ConnectError),
}

impl ConnectError {
    /// Whether the caller said something that cannot be used, as opposed to trouble on the way.
    #[must_use]
    pub fn is_bad_input(&self) -> bool {
        matches!(
            self,
            Self::Address(_) | Self::Credentials(..) | Self::Certificates(..)
        )
    }
}

impl From<async_nats::ConnectError> for ConnectError {
    fn from(error: async_nats::ConnectError) -> Self {
        match error.kind() {
            ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
                Self::Refused(error)
            }
            ConnectErrorKind::Tls => Self::Untrusted(error),
            _ if is_of_tls(&error) => Self::Untrusted(error),
            _ => Self::Unreachable(error),
        }
    }
}

/// The client tells a handshake that failed as trouble of the line.
fn is_of_tls(error: &async_nats::ConnectError) -> bool {
    let line = error
        .source()
        .and_then(|source| source.downcast_ref::<io::Error>());
    let inner = line.and_then(io::Error::get_ref);
    inner.is_some_and(|inner| inner.is::<rustls::Error>())
}

impl JetStream {
    /// Connects. A server that is away at the start is an error; later it is waited for.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn connect(access: &Access, prefix: &str) -> Result<Self, ConnectError> {
        let address: ServerAddr = access.url.parse().map_err(ConnectError::Address)?;
        let mut options = ConnectOptions::new().name("outbox").event_callback(report);
        // The client itself leaves what stands there unused.
        if let Some(user) = address.username() {
            let password = address.password().unwrap_or_default();
            options = options.user_and_password(decoded(user), decoded(password));
        }
        if let Some(file) = &access.credentials {
            options = with_credentials(options, file)
                .await
                .map_err(|error| ConnectError::Credentials(file.clone(), error))?;
        }
        if let Some(file) = &access.ca {
            let readable = tokio::fs::read(file).await.map(drop);
            readable.map_err(|error| ConnectError::Certificates(file.clone(), error))?;
            options = options
                .add_root_certificates(file.clone())
                .require_tls(true);
        }
        let client = options.connect(address).await?;
        let most = client.server_info().max_payload;
        if most < MESSAGE {
            return Err(ConnectError::SmallMessages(most));
        }
        Ok(Self::new(client, prefix))
    }
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

async fn with_credentials(options: ConnectOptions, file: &Path) -> io::Result<ConnectOptions> {
    let text = tokio::fs::read_to_string(file).await?;
    let seed = text.trim();
    // A user's seed, by the prefix of its kind.
    if seed.starts_with("SU") && !seed.contains(char::is_whitespace) {
        return Ok(options.nkey(seed.to_owned()));
    }
    options.credentials(&text)
}

async fn report(event: Event) {
    match event {
        Event::Connected => tracing::info!("Connected to NATS"),
        Event::Disconnected => tracing::warn!("NATS is away; events wait in the database"),
        // Each try to connect again fails for a reason of its own, and it is known that it is away.
        Event::ClientError(error) => tracing::debug!("NATS: {error}"),
        event => tracing::warn!("NATS: {event}"),
    }
}
