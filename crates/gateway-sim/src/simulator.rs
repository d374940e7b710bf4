//! What a gateway is started with, and how it opens: the folder claimed, the books read, the
//! address taken and told.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::http::Uri;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::books::{Books, BooksError, Rules};
use crate::clock::Clock;
use crate::folder::{Claim, Folder, FolderError};
use crate::http::{Gateway, Progress, routes};
use crate::postman::{Postman, Receiver};
use crate::profile::Profile;
use crate::running::{self, Running};
use crate::serve::serve;

const WEBHOOK_FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Why there is no gateway.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The books do not open.
    #[error(transparent)]
    Books(#[from] BooksError),
    /// No socket could be had.
    #[error("cannot listen on {address}: is it in use? Choose another address")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The address to send webhooks to is not one.
    #[error("cannot send webhooks to {0}: give an address like http://127.0.0.1:8080/webhooks")]
    WebhookUrl(String),
    /// The thread of the gateway could not be started.
    #[error("cannot start the gateway's thread")]
    Thread(#[source] io::Error),
    /// Another gateway keeps the books of this folder.
    #[error("another gateway keeps the books of {folder}, at {url}: stop it or use another folder")]
    Taken {
        /// The folder.
        folder: PathBuf,
        /// Its address, as far as it was told.
        url: String,
    },
    /// Another gateway keeps the books of this folder, and does not answer.
    #[error("the gateway that keeps the books of {folder} does not answer: stop it and try again")]
    Silent {
        /// The folder.
        folder: PathBuf,
    },
}

/// A gateway that may be started: a folder, and what differs from the usual.
#[derive(Debug, Clone)]
pub struct GatewaySim {
    pub(crate) dir: PathBuf,
    listen: SocketAddr,
    receiver: Option<Receiver>,
    latency: Duration,
    profile: Profile,
    pub(crate) clock: Clock,
    first_pause: Duration,
    /// What is wrong with the settings, told when it is started.
    wrong_url: Option<String>,
}

impl GatewaySim {
    /// The gateway whose books are in this folder, on a free port of this machine.
    #[must_use]
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            receiver: None,
            latency: Duration::ZERO,
            profile: Profile::DEFAULT,
            clock: Clock::default(),
            first_pause: WEBHOOK_FIRST_PAUSE,
            wrong_url: None,
        }
    }

    /// Listens there. With port 0: on the port of last time, if it is free, or on a free one.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = address;
        self
    }

    /// Announces results to this address, signed with the secret.
    #[must_use]
    pub fn webhook(mut self, url: &str, secret: &str) -> Self {
        let receiver = url.parse::<Uri>().ok().map(|url| Receiver {
            url,
            secret: secret.to_owned(),
            first_pause: self.first_pause,
        });
        self.receiver = receiver.filter(Receiver::is_reachable);
        self.wrong_url = self.receiver.is_none().then(|| url.to_owned());
        self
    }

    /// Pauses so long after the first failed attempt to deliver a webhook, and doubles it each
    /// time.
    #[must_use]
    pub fn webhook_first_pause(mut self, pause: Duration) -> Self {
        self.first_pause = pause;
        if let Some(receiver) = &mut self.receiver {
            receiver.first_pause = pause;
        }
        self
    }

    /// Answers each request so much later.
    #[must_use]
    pub fn latency(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    /// Is like this kind of gateway.
    #[must_use]
    pub fn profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self
    }

    /// Forgets used idempotency keys after this time, whatever the profile says.
    #[must_use]
    pub fn key_lifetime(mut self, lifetime: Duration) -> Self {
        self.profile.key_lifetime = Some(lifetime);
        self
    }

    /// Starts the gateway in this program.
    ///
    /// # Errors
    /// When the folder is another's, or cannot be used, or no socket can be had.
    pub async fn start(self) -> Result<Running, StartError> {
        running::start(self).await
    }

    /// Starts the gateway in this program, or joins the one that keeps the books of the folder. A
    /// joiner's own settings hold once it takes over.
    ///
    /// # Errors
    /// When the folder cannot be used, no socket can be had, or the other does not answer.
    pub async fn start_or_join(self) -> Result<Running, StartError> {
        running::start_or_join(self).await
    }

    /// Whether the settings can be used.
    pub(crate) fn check(&self) -> Result<(), StartError> {
        match &self.wrong_url {
            Some(url) => Err(StartError::WebhookUrl(url.clone())),
            None => Ok(()),
        }
    }

    /// Opens the books and the socket.
    pub(crate) async fn open(&self, folder: &Folder, claim: Claim) -> Result<Host, StartError> {
        let rules = Rules {
            profile: self.profile,
            announces: self.receiver.is_some(),
        };
        let (books, writer) = Books::open(folder.path(), rules, self.clock.clone())?;
        let (listener, url) = self.bind(folder).await?;
        folder.tell_address(&url)?;
        Ok(Host {
            listener,
            url,
            receiver: self.receiver.clone(),
            books,
            books_id: folder.books_id(),
            latency: self.latency,
            profile: self.profile,
            remains: Remains { writer, claim },
        })
    }

    async fn bind(&self, folder: &Folder) -> Result<(TcpListener, String), StartError> {
        let failed = |source| StartError::Listen {
            address: self.listen,
            source,
        };
        let listener = match self.former_address(folder) {
            Some(former) => match TcpListener::bind(former).await {
                Ok(listener) => listener,
                Err(_) => TcpListener::bind(self.listen).await.map_err(failed)?,
            },
            None => TcpListener::bind(self.listen).await.map_err(failed)?,
        };
        let address = listener.local_addr().map_err(failed)?;
        Ok((listener, format!("http://{address}")))
    }

    /// Where callers expect the gateway of this folder, if any port will do.
    fn former_address(&self, folder: &Folder) -> Option<SocketAddr> {
        let told = folder.address()?;
        let former: SocketAddr = told.strip_prefix("http://")?.parse().ok()?;
        (self.listen.port() == 0 && former.ip() == self.listen.ip()).then_some(former)
    }
}

/// An open gateway, about to serve.
pub(crate) struct Host {
    listener: TcpListener,
    pub(crate) url: String,
    receiver: Option<Receiver>,
    books: Books,
    books_id: String,
    latency: Duration,
    profile: Profile,
    remains: Remains,
}

impl Host {
    /// Serves until it is told to stop. What remains is to be closed after the runtime ended, since
    /// connections that are cut off hold the books until then.
    pub(crate) async fn serve(self, stop: CancellationToken) -> Remains {
        let postman = self.receiver.map(|receiver| {
            let postman = Arc::new(Postman::new(self.books.clone(), receiver));
            tokio::spawn(Arc::clone(&postman).run(stop.clone()));
            postman
        });
        let gateway = Gateway {
            books: self.books,
            postman,
            latency: self.latency,
            profile: self.profile,
            progress: Progress::default(),
            books_id: self.books_id,
            stop: stop.clone(),
        };
        serve(self.listener, routes(Arc::new(gateway)), stop).await;
        self.remains
    }
}

/// What is left of a gateway that no longer serves.
pub(crate) struct Remains {
    writer: JoinHandle<()>,
    claim: Claim,
}

impl Remains {
    /// Waits until the books are closed, and only then lets the next one at them.
    pub(crate) fn close(self) {
        if self.writer.join().is_err() {
            tracing::error!("The thread that writes the gateway's books panicked");
        }
        drop(self.claim);
    }
}
