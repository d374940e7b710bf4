//! The consumer that tells customers what happened to them.
//!
//! The notice's row is there before its mail, with the `Message-ID` that every attempt carries, and
//! says at the end that it was sent, or why it was not. How mail leaves is a [`Sink`]'s business.

use billing::notice::{self, IntendError, Intent, Mail, Outcome};
use outbox::{Act, Dedupe, Event, External, Failure, Load, UnitOfWork};

mod config;
mod counting;
mod eml_folder;
mod message;
mod payload;
mod smtp;

pub use config::{MailConfig, MailError, MailSink};
pub use counting::Counting;
pub use eml_folder::EmlFolder;
pub use message::{Sender, SenderError};
pub(crate) use payload::TOPICS;
pub use smtp::{Smtp, SmtpUrl, SmtpUrlError};

/// A mail as it travels.
pub use lettre::Message;

/// Where mail leaves.
pub trait Sink: Send + Sync + 'static {
    /// What a repeated mail does there.
    const DEDUPE: Dedupe;

    /// Hands a mail over.
    fn send(&self, mail: &Mail, message: Message) -> impl Future<Output = Act<Outcome>> + Send;
}

/// Sends the notices.
#[derive(Debug)]
pub struct Notices<S> {
    sink: S,
    sender: Sender,
}

impl<S: Sink> Notices<S> {
    /// Notices from a sender through a sink.
    pub fn new(sink: S, sender: Sender) -> Self {
        Self { sink, sender }
    }
}

impl<S: Sink> External for Notices<S> {
    type Intent = Mail;
    type Answer = Outcome;

    const DEDUPE: Dedupe = S::DEDUPE;

    async fn load(
        &self,
        tx: &mut UnitOfWork,
        events: &[Event],
    ) -> Result<Vec<Load<Mail>>, Failure> {
        let wanted: Vec<_> = events
            .iter()
            .map(payload::wanted)
            .collect::<Result<_, _>>()?;
        let intents = notice::intend_all(tx, &wanted, self.sender.host())
            .await
            .map_err(failure)?;
        let load = |intent| match intent {
            Intent::Send(mail) => Load::Call(mail),
            Intent::Recorded => Load::Recorded,
            Intent::Obsolete(reason) => Load::Obsolete(reason),
        };
        Ok(intents.into_iter().map(load).collect())
    }

    async fn act(&self, mail: &Mail) -> Act<Outcome> {
        match self.sender.message(mail) {
            Ok(message) => self.sink.send(mail, message).await,
            Err(refusal) => Act::Answer(Outcome::Refused(refusal.to_string())),
        }
    }

    async fn settle(
        &self,
        tx: &mut UnitOfWork,
        answers: Vec<(Mail, Outcome)>,
    ) -> Result<(), Failure> {
        Ok(notice::settle_all(tx, &answers).await?)
    }
}

fn failure(error: IntendError) -> Failure {
    match error {
        IntendError::Database(error) => Failure::Database(error),
        error => Failure::retry(with_causes(&error)),
    }
}

/// An error with what lies below it, on one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(cause) = below {
        text = format!("{text}: {cause}");
        below = cause.source();
    }
    text
}
