//! The sink that hands mails to a mail server over SMTP.
//!
//! SMTP has no key by which a server would know a mail again. A mail whose `250` we never saw, or
//! saw and could not record because we were killed, is sent once more: the customer may get it
//! twice, both times with the same `Message-ID`, which mail programs and archives know it by. That
//! window lies between the end of the content and the commit of its record; nothing else repeats.
//!
//! What a refusal means depends on when it comes. Before the recipient is named it concerns us and
//! every mail, so the consumer waits; afterwards it concerns this mail.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use billing::notice::{Mail, Outcome};
use lettre::Message;
use lettre::transport::smtp::authentication::DEFAULT_MECHANISMS;
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands;
use lettre::transport::smtp::extension::ClientId;
use outbox::{Act, Dedupe};
use tokio::time::timeout;

use super::Sink;

mod refusal;
mod url;

use refusal::{Failed, Phase, Trouble};
pub use url::{SmtpUrl, SmtpUrlError};

/// A server that says nothing for so long is of no use to any mail.
const PATIENCE: Duration = Duration::from_secs(10);
/// So many connections are kept for the next mails.
const IDLE_MAX: usize = 8;

/// A mail server.
pub struct Smtp {
    url: SmtpUrl,
    hello: ClientId,
    tls: Option<TlsParameters>,
    idle: Mutex<Vec<AsyncSmtpConnection>>,
}

impl std::fmt::Debug for Smtp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Smtp").field(&self.url).finish()
    }
}

impl Smtp {
    /// Mail through the server of a URL. Nothing is sent yet, and no connection made.
    ///
    /// # Errors
    /// [`SmtpUrlError`], when no certificate could be checked against the URL's host.
    pub fn new(url: SmtpUrl) -> Result<Self, SmtpUrlError> {
        Ok(Self {
            hello: url.hello(),
            tls: url.tls_parameters()?,
            idle: Mutex::default(),
            url,
        })
    }

    /// A connection that is ready for a mail: one that was kept, if the server still answers.
    async fn connection(&self) -> Result<AsyncSmtpConnection, Failed> {
        while let Some(mut kept) = self.kept() {
            if timeout(PATIENCE, kept.test_connected()).await == Ok(true) {
                return Ok(kept);
            }
        }
        in_time(Phase::Session, self.connect()).await
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, lettre::transport::smtp::Error> {
        let at_once = self.tls.clone().filter(|_| self.url.is_wrapped());
        let upgrade = self.tls.clone().filter(|_| !self.url.is_wrapped());
        let server = (self.url.host(), self.url.port());
        let mut connection =
            AsyncSmtpConnection::connect_tokio1(server, None, &self.hello, at_once, None).await?;
        if let Some(tls) = upgrade {
            connection.starttls(tls, &self.hello).await?;
        }
        if let Some(credentials) = self.url.credentials() {
            connection.auth(DEFAULT_MECHANISMS, credentials).await?;
        }
        Ok(connection)
    }

    fn kept(&self) -> Option<AsyncSmtpConnection> {
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop()
    }

    fn keep(&self, connection: AsyncSmtpConnection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(connection);
        }
    }

    async fn deliver(&self, message: &Message) -> Result<(), Failed> {
        let mut connection = self.connection().await?;
        let delivered = talk(&mut connection, message).await;
        // A call that is given up drops its connection: the answer that is still to come on it
        // would be taken for the answer to the next mail.
        let is_usable = match &delivered {
            Ok(()) => true,
            Err(failed) => failed.is_answer() && reset(&mut connection).await,
        };
        if is_usable {
            self.keep(connection);
        }
        delivered
    }
}

impl Sink for Smtp {
    const DEDUPE: Dedupe = Dedupe::AtLeastOnce;

    async fn send(&self, _: &Mail, message: Message) -> Act<Outcome> {
        match self.deliver(&message).await {
            Ok(()) => Act::Answer(Outcome::Sent),
            Err(failed) => failed.act(&self.url),
        }
    }
}

/// One mail.
async fn talk(connection: &mut AsyncSmtpConnection, message: &Message) -> Result<(), Failed> {
    let envelope = message.envelope();
    let from = commands::Mail::new(envelope.from().cloned(), Vec::new());
    in_time(Phase::Sender, connection.command(from)).await?;
    for to in envelope.to() {
        let to = commands::Rcpt::new(to.clone(), Vec::new());
        in_time(Phase::Recipient, connection.command(to)).await?;
    }
    in_time(Phase::Recipient, connection.command(commands::Data)).await?;
    // However long the server looks at it: giving up here is what makes a mail come twice, and the
    // consumer's own timeout is the end of it.
    let content = connection.message(&message.formatted()).await;
    let failed = |error| Failed::new(Phase::Content, Trouble::Said(error));
    content.map(|_| ()).map_err(failed)
}

async fn reset(connection: &mut AsyncSmtpConnection) -> bool {
    let reset = timeout(PATIENCE, connection.command(commands::Rset)).await;
    matches!(reset, Ok(Ok(_)))
}

async fn in_time<T>(
    phase: Phase,
    step: impl Future<Output = Result<T, lettre::transport::smtp::Error>>,
) -> Result<T, Failed> {
    match timeout(PATIENCE, step).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(Failed::new(phase, Trouble::Said(error))),
        Err(_) => Err(Failed::new(phase, Trouble::Silence(PATIENCE))),
    }
}
