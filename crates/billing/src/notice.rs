//! Notice: what a customer is told, and the record of what was.
//!
//! There is one per account, kind and cause. Its figures are those that were frozen with what it
//! tells of; only where it goes, and whether it still makes sense, is read when it is to be sent.
//! The intent row comes first, and says at the end that it was sent, or why it was not.
//!
//! Nothing here knows how mail travels: whoever sends takes a [`Mail`] and brings an [`Outcome`].
//!
//! Owns `billing.notice`. Reads `billing.account`, `billing.invoice`, `billing.line`,
//! `billing.payment`, `billing.hold`. Emits nothing.

use chrono::{DateTime, NaiveDate, Utc};
use outbox::{UnitOfWork, failpoint};
use serde::Serialize;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::account::{self, AccountError};
use crate::document::LoadError;
use crate::ids::{AccountId, HoldId, InvoiceId, NoticeId, PaymentId};
use crate::money::MoneyError;

mod facts;
mod letter;
mod store;

use facts::Fact;
use letter::Letter;

/// What a notice tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// An invoice is final.
    Invoice(InvoiceId),
    /// Money came.
    Receipt(PaymentId),
    /// Money did not come.
    PaymentFailed(PaymentId),
    /// The account gets no service.
    Hold(HoldId),
    /// It gets service again.
    Release(HoldId),
}

impl About {
    /// The kind's name in tables.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Invoice(_) => "invoice",
            Self::Receipt(_) => "receipt",
            Self::PaymentFailed(_) => "payment_failed",
            Self::Hold(_) => "hold",
            Self::Release(_) => "release",
        }
    }

    /// Whether what it tells of may be over by the time that it is told.
    fn can_be_overtaken(self) -> bool {
        match self {
            Self::Invoice(_) | Self::Receipt(_) => false,
            Self::PaymentFailed(_) | Self::Hold(_) | Self::Release(_) => true,
        }
    }

    /// The id of what it tells of: with the kind, what makes the notice one of a kind.
    #[must_use]
    pub fn cause(self) -> Uuid {
        match self {
            Self::Invoice(id) => id.into(),
            Self::Receipt(id) | Self::PaymentFailed(id) => id.into(),
            Self::Hold(id) | Self::Release(id) => id.into(),
        }
    }
}

/// A notice that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Whom to tell.
    pub account: AccountId,
    /// What of.
    pub about: About,
}

/// A notice, written and addressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// Which.
    pub notice_id: NoticeId,
    /// Where it goes: the account's address of now.
    pub to: String,
    /// One line.
    pub subject: String,
    /// The plain text.
    pub text: String,
    /// The same as HTML.
    pub html: String,
    /// The same at each attempt, so that a repeated mail is recognized: `<ntc_…@example.com>`.
    pub message_id: String,
    /// When it was first intended; the same at each attempt, too.
    pub date: DateTime<Utc>,
    /// Whether an earlier attempt may have got somewhere.
    pub is_again: bool,
}

/// What is to be done about a wanted notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Intent {
    /// Send it.
    Send(Mail),
    /// Nothing: it was sent, or never will be; the record says why.
    Recorded,
    /// Nothing: the world has moved on; how.
    Obsolete(String),
}

/// What came of sending a notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Whoever delivers mail has taken it over.
    Sent,
    /// It will not be delivered to this recipient; in the words of who refused it.
    Refused(String),
}

/// Why notices could not be intended.
#[derive(Debug, thiserror::Error)]
pub enum IntendError {
    /// Something that a notice is to tell of does not exist, or is not as its event says.
    #[error("there is no {what} {id} that a customer could be told of")]
    Missing {
        /// What it would be.
        what: &'static str,
        /// Its id, or the account's.
        id: Uuid,
    },
    /// A frozen invoice could not be loaded.
    #[error("could not load the invoice of a notice")]
    Invoice(#[source] LoadError),
    /// The account's time zone is not known to this program.
    #[error("could not tell the account's time")]
    Zone(#[source] AccountError),
    /// A payment's currency is not known to this program, or its figures do not fit.
    #[error("could not tell an amount")]
    Money(#[from] MoneyError),
    /// The database refused a statement.
    #[error("could not read or write notices")]
    Database(#[from] sqlx::Error),
}

impl From<LoadError> for IntendError {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Database(error) => Self::Database(error),
            error => Self::Invoice(error),
        }
    }
}

/// Writes the intents of notices, and says what is to be done about each; in their order.
///
/// Where the account's state of now decides, it is locked first, so what is decided here holds
/// until the transaction ends; an invoice that is final and money that came stay what they are.
/// `host` is the sender's, for the notices' message ids.
///
/// # Errors
/// [`IntendError`]; one notice that cannot be written fails all.
pub async fn intend_all(
    tx: &mut UnitOfWork,
    wanted: &[Wanted],
    host: &str,
) -> Result<Vec<Intent>, IntendError> {
    let changing = wanted.iter().filter(|one| one.about.can_be_overtaken());
    let changing: Vec<AccountId> = changing.map(|one| one.account).collect();
    if !changing.is_empty() {
        account::lock_all(tx, &changing).await?;
    }
    let accounts = store::recipients(tx, wanted).await?;
    let facts = facts::gather(tx, wanted).await?;
    let mut drafts = Vec::with_capacity(wanted.len());
    for (wanted, fact) in wanted.iter().zip(facts) {
        let recipient = accounts.get(&wanted.account).ok_or(IntendError::Missing {
            what: "account",
            id: wanted.account.into(),
        })?;
        drafts.push(Draft::of(*wanted, &fact, recipient, host)?);
    }
    let standings = store::intend(tx, &drafts).await?;
    failpoint!("notice.intended")?;
    store::suppress(tx, &drafts, &standings).await?;
    let intents = drafts.into_iter().zip(standings);
    Ok(intents.map(|(draft, row)| draft.intent(row)).collect())
}

/// Records what came of sending notices. Again is as good as once.
///
/// # Errors
/// The database's.
pub async fn settle_all(
    tx: &mut UnitOfWork,
    outcomes: &[(Mail, Outcome)],
) -> Result<(), sqlx::Error> {
    let (mut sent, mut refused) = (Vec::new(), Vec::new());
    for (mail, outcome) in outcomes {
        match outcome {
            Outcome::Sent => sent.push((mail.notice_id, mail.to.as_str())),
            Outcome::Refused(why) => refused.push((mail.notice_id, mail.to.as_str(), why.as_str())),
        }
    }
    store::sent(tx, &sent).await?;
    failpoint!("notice.recorded")?;
    store::refused(tx, &refused).await
}

/// A notice as the record has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Notice {
    /// Its id, to go on from.
    pub notice_id: NoticeId,
    /// `invoice`, `receipt`, `payment_failed`, `hold` or `release`.
    pub kind: String,
    /// The invoice, payment or hold that it tells of.
    pub cause: Uuid,
    /// The invoice that it is about, if it is about one.
    pub invoice_id: Option<InvoiceId>,
    /// `intended`, `sent` or `suppressed`.
    pub state: String,
    /// The address it went to, or was to go to.
    pub recipient: Option<String>,
    /// Its subject.
    pub subject: String,
    /// How its mail is recognized.
    pub message_id: String,
    /// Why it was not sent.
    pub suppressed: Option<String>,
    /// When it was first wanted.
    pub intended_at: DateTime<Utc>,
    /// When it was sent.
    pub sent_at: Option<DateTime<Utc>>,
}

/// What an account was told and what it was spared, oldest first: at most `limit` notices after the
/// one named, or from the first on.
///
/// # Errors
/// The database's.
pub async fn of_account(
    pool: &PgPool,
    account: AccountId,
    after: Option<NoticeId>,
    limit: u32,
) -> Result<Vec<Notice>, sqlx::Error> {
    store::of_account(pool, account, after, limit).await
}

/// How many notices about invoices of a month, named by its first day, were sent.
///
/// # Errors
/// The database's.
pub async fn count_sent(conn: &mut PgConnection, month: NaiveDate) -> Result<i64, sqlx::Error> {
    store::count_sent(conn, month).await
}

/// A notice before its row.
#[derive(Debug)]
struct Draft {
    notice_id: NoticeId,
    account: AccountId,
    about: About,
    invoice: Option<InvoiceId>,
    recipient: Option<String>,
    letter: Letter,
    message_id: String,
    /// Why it will not be sent.
    silence: Option<Silence>,
}

/// Why nobody is told.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Silence {
    /// It is not true any more, or of no use.
    Overtaken(String),
    /// There is nothing to say, or nobody to say it to.
    Pointless(String),
}

impl Silence {
    fn reason(&self) -> &str {
        let (Self::Overtaken(reason) | Self::Pointless(reason)) = self;
        reason
    }
}

impl Draft {
    fn of(
        wanted: Wanted,
        fact: &Fact,
        recipient: &store::Recipient,
        host: &str,
    ) -> Result<Self, IntendError> {
        let notice_id = NoticeId::new();
        let unreachable = || match recipient.email {
            Some(_) => None,
            None => Some(Silence::Pointless(
                "the account has no e-mail address".to_owned(),
            )),
        };
        Ok(Self {
            notice_id,
            account: wanted.account,
            about: wanted.about,
            invoice: fact.invoice_id(),
            recipient: recipient.email.clone(),
            letter: Letter::of(fact, recipient)?,
            message_id: format!("<{notice_id}@{host}>"),
            silence: fact.silence().or_else(unreachable),
        })
    }

    fn intent(self, row: store::Row) -> Intent {
        let to = match (row.is_open, self.silence, self.recipient) {
            (false, ..) | (true, Some(Silence::Pointless(_)), _) | (true, None, None) => {
                return Intent::Recorded;
            }
            (true, Some(Silence::Overtaken(reason)), _) => return Intent::Obsolete(reason),
            (true, None, Some(to)) => to,
        };
        let (text, html) = self.letter.render();
        Intent::Send(Mail {
            notice_id: row.notice_id,
            to,
            subject: self.letter.subject,
            text,
            html,
            message_id: row.message_id,
            date: row.intended_at,
            is_again: !row.is_new,
        })
    }
}
