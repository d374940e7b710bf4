//! What a mail server's refusal means for the mail, and for all the others.

use std::error::Error as _;
use std::time::Duration;

use billing::notice::Outcome;
use lettre::transport::smtp::Error;
use outbox::Act;

use super::url::SmtpUrl;

/// How far a mail had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Connecting, greeting, encrypting, logging in.
    Session,
    /// Naming the sender, who is the same for every mail.
    Sender,
    /// Naming the recipient, and asking whether the content may come.
    Recipient,
    /// The content, and the answer to it.
    Content,
}

/// What was wrong.
#[derive(Debug)]
pub(super) enum Trouble {
    /// An answer that refuses, or a connection that broke.
    Said(Error),
    /// No answer for so long.
    Silence(Duration),
}

/// A mail that was not taken over.
#[derive(Debug)]
pub(super) struct Failed {
    phase: Phase,
    trouble: Trouble,
}

/// Log in first, or otherwise: the recipient has nothing to do with it.
const LOGIN: [u16; 4] = [530, 534, 535, 538];
/// The server closes down.
const CLOSING: u16 = 421;
/// The class of refusals by policy in the extended codes of RFC 3463: whom a server serves at all.
const POLICY: &str = "5.7.";

impl Failed {
    pub(super) fn new(phase: Phase, trouble: Trouble) -> Self {
        Self { phase, trouble }
    }

    /// Whether the server answered, so that the connection can be used for another mail.
    pub(super) fn is_answer(&self) -> bool {
        self.code().is_some_and(|code| code != CLOSING)
    }

    /// What is to be done.
    pub(super) fn act(self, server: &SmtpUrl) -> Act<Outcome> {
        let error = format!("{server}: {}", self.words());
        let unavailable = |error| Act::Unavailable { error, after: None };
        match (self.phase, self.code()) {
            (Phase::Session | Phase::Sender, _) | (_, Some(CLOSING)) => unavailable(error),
            (_, Some(code)) if LOGIN.contains(&code) => unavailable(error),
            // Gone before it had anything to say on this mail.
            (Phase::Recipient, None) => unavailable(error),
            // One mail that breaks every connection must not hold up all others for ever.
            (Phase::Content, None) | (_, Some(..500)) => Act::Retry { error, after: None },
            (Phase::Recipient, Some(_)) if self.is_policy() => Act::Dead(format!(
                "{error}: does the server relay for this sender? Then redrive this event"
            )),
            (Phase::Recipient | Phase::Content, Some(_)) => {
                Act::Answer(Outcome::Refused(self.words()))
            }
        }
    }

    fn code(&self) -> Option<u16> {
        match &self.trouble {
            Trouble::Said(error) => error.status()?.to_string().parse().ok(),
            Trouble::Silence(_) => None,
        }
    }

    fn is_policy(&self) -> bool {
        matches!(&self.trouble, Trouble::Said(error)
            if error.source().is_some_and(|words| words.to_string().starts_with(POLICY)))
    }

    /// `550 5.1.1 No such user here`, in the server's own words where there are any.
    fn words(&self) -> String {
        match &self.trouble {
            Trouble::Silence(time) => format!("no answer within {time:?}"),
            Trouble::Said(error) => match (error.status(), error.source()) {
                (Some(code), Some(words)) => format!("{code} {words}"),
                _ => error.to_string(),
            },
        }
    }
}
