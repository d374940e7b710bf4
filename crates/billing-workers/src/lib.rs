//! The consumers of the billing events, and the site that every binary opens first.
//!
//! | consumer            | reads                        | effect                                  |
//! |---------------------|------------------------------|-----------------------------------------|
//! | `checks`            | slots of their schedule      | outcomes of the checks, told once       |
//! | `collection-report` | invoices and payments        | the month's figures, transactional      |
//! | `documents`         | invoices                     | one HTML file per invoice               |
//! | `dunning`           | payments that were declined  | retries on their days, holds            |
//! | `finance-report`    | closes that are settled      | the month's report, the end of the run  |
//! | `notices`           | invoices, payments and holds | one mail per cause                      |
//! | `payments`          | invoices, what changed since | charges cards                           |
//! | `refunds`           | refunds that were asked for  | gives money back to cards               |
//!
//! A consumer added to [`add_all`] runs in every binary that runs workers.

use std::path::PathBuf;
use std::time::Duration;

use billing::gateway::Gateways;
use outbox::{Backoff, ConsumerSpec, OnDead, Outbox, Worker};

use crate::payload::{InvoiceFinalizedV1, Payload};

mod checks;
mod collection_report;
mod documents;
mod dunning;
mod finance_report;
pub mod gateways;
mod notices;
mod payload;
mod payments;
mod refunds;
mod runtime;
pub mod site;
pub mod traces;

pub use checks::{Checks, plan_checks, show_checks};
pub use collection_report::CollectionReport;
pub use documents::{Documents, FolderError};
pub use dunning::Dunning;
pub use finance_report::{FinanceReport, ReportFileError, Settling, report_path, write_report};
pub use notices::{
    Counting, EmlFolder, MailConfig, MailError, MailSink, Message, Notices, Sender, SenderError,
    Sink, Smtp, SmtpUrl, SmtpUrlError,
};
pub use payments::{Call, Payments};
pub use refunds::{Call as RefundCall, Refunds};
pub use runtime::runtime;

/// What the consumers need to know of the place where they run.
#[derive(Debug, Clone)]
pub struct WorkersConfig {
    /// The folder of the invoices' files; it is created if it is not there.
    pub documents_dir: PathBuf,
    /// The folder of the months' reports.
    pub reports_dir: PathBuf,
    /// The gateways that cards are charged at.
    pub gateways: Gateways,
    /// How customers are told.
    pub mail: MailConfig,
    /// The log, for what the consumers write while they call.
    pub outbox: Outbox,
}

/// Why the consumers could not be added.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// A name was asked for that no consumer has.
    #[error("there is no consumer {asked:?}; there are: {}", names().join(", "))]
    Unknown {
        /// The name.
        asked: String,
    },
    /// The folder of documents or of mail cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The mail server cannot be used.
    #[error(transparent)]
    MailServer(#[from] SmtpUrlError),
}

/// The consumers' names.
#[must_use]
pub fn names() -> Vec<&'static str> {
    specs().iter().map(|spec| spec.name).collect()
}

/// The consumers that a close waits for: all but the one that looks at what they did.
#[must_use]
pub fn settling() -> Vec<ConsumerSpec> {
    let mut specs = Vec::from(specs());
    specs.retain(|spec| spec.name != CHECKS);
    specs
}

/// How each consumer is read and retried.
#[must_use]
pub fn specs() -> [ConsumerSpec; 8] {
    [
        checks(),
        collection_report(),
        documents(),
        dunning(),
        finance_report(),
        notices(),
        payments(),
        refunds(),
    ]
}

const CHECKS: &str = "checks";
/// Each check has its own bound; all together take minutes at a million invoices.
const CHECKS_TIMEOUT: Duration = Duration::from_secs(1800);
/// A run always outlasts its batch, and nothing else is in it.
const CHECKS_PATIENCE: Duration = Duration::from_secs(1);
/// The next slot tries again anyway.
const CHECKS_BACKOFF: Backoff = Backoff {
    first: Duration::from_secs(60),
    cap: Duration::from_secs(600),
    attempts: 5,
};

/// A run that was given up keeps none of the later ones from being made.
fn checks() -> ConsumerSpec {
    ConsumerSpec {
        shards: 1,
        on_dead: OnDead::Skip,
        backoff: CHECKS_BACKOFF,
        concurrency: 1,
        patience: CHECKS_PATIENCE,
        call_timeout: CHECKS_TIMEOUT,
        ..ConsumerSpec::new(CHECKS, checks::TOPICS)
    }
}

fn collection_report() -> ConsumerSpec {
    ConsumerSpec::new("collection-report", collection_report::TOPICS)
}

fn dunning() -> ConsumerSpec {
    ConsumerSpec::new("dunning", dunning::TOPICS)
}

/// A report of a million accounts takes this long at most.
const REPORT_TIMEOUT: Duration = Duration::from_secs(600);

fn finance_report() -> ConsumerSpec {
    ConsumerSpec {
        call_timeout: REPORT_TIMEOUT,
        ..ConsumerSpec::new("finance-report", finance_report::TOPICS)
    }
}

/// A disk that does not answer within this time holds nobody else's document up.
const FILE_TIMEOUT: Duration = Duration::from_secs(30);
/// Files are made durable together: as many as a batch has.
const FILE_CALLS: usize = 500;

fn documents() -> ConsumerSpec {
    let spec = ConsumerSpec::new("documents", &[InvoiceFinalizedV1::TOPIC]);
    ConsumerSpec {
        concurrency: FILE_CALLS,
        call_timeout: FILE_TIMEOUT,
        // A file that is written again is the same file.
        replayable: true,
        ..spec
    }
}

/// Of half as many a close waited for payments at last, with idle cores (`docs/decisions/0010`).
const CARD_CALLS: usize = 256;
/// Most answers come within a second; who waits for a slow one waits alone.
const CARD_PATIENCE: Duration = Duration::from_secs(3);
/// Asking for a payment can take two calls, with a departure between them.
const CARD_TIMEOUT: Duration = Duration::from_secs(2 * gateways::TIMEOUT_MAX.as_secs() + 20);

fn payments() -> ConsumerSpec {
    ConsumerSpec {
        concurrency: CARD_CALLS,
        patience: CARD_PATIENCE,
        call_timeout: CARD_TIMEOUT,
        ..ConsumerSpec::new("payments", payments::TOPICS)
    }
}

/// Refunds are few, and one that is slow keeps few others waiting.
const REFUND_CALLS: usize = 16;

fn refunds() -> ConsumerSpec {
    ConsumerSpec {
        concurrency: REFUND_CALLS,
        patience: CARD_PATIENCE,
        call_timeout: CARD_TIMEOUT,
        ..ConsumerSpec::new("refunds", refunds::TOPICS)
    }
}

/// Servers of mail refuse whom they find too eager.
const MAIL_CALLS: usize = 8;
/// A server may look long at a mail before it answers.
const MAIL_TIMEOUT: Duration = Duration::from_secs(30);

/// One mail that cannot be sent keeps no other from its customer: each tells of its own cause.
fn notices() -> ConsumerSpec {
    ConsumerSpec {
        on_dead: OnDead::Skip,
        concurrency: MAIL_CALLS,
        call_timeout: MAIL_TIMEOUT,
        ..ConsumerSpec::new("notices", notices::TOPICS)
    }
}

/// Adds all consumers to a worker, or those named in `only`.
///
/// # Errors
/// [`AddError`]; the worker is then not to be run.
pub fn add_all(
    worker: &mut Worker,
    config: &WorkersConfig,
    only: Option<&[String]>,
) -> Result<(), AddError> {
    if let Some(asked) = only
        .into_iter()
        .flatten()
        .find(|name| !names().contains(&name.as_str()))
    {
        return Err(AddError::Unknown {
            asked: asked.clone(),
        });
    }
    let is_wanted =
        |spec: &ConsumerSpec| only.is_none_or(|only| only.iter().any(|name| name == spec.name));
    if is_wanted(&checks()) {
        worker.external(checks(), Checks::new(config.outbox.clone()));
    }
    if is_wanted(&collection_report()) {
        worker.transactional(collection_report(), CollectionReport);
    }
    if is_wanted(&dunning()) {
        worker.transactional(dunning(), Dunning);
    }
    if is_wanted(&documents()) {
        worker.external(documents(), Documents::in_folder(&config.documents_dir)?);
    }
    if is_wanted(&finance_report()) {
        let (pool, folder) = (config.outbox.pool().clone(), &config.reports_dir);
        worker.external(finance_report(), FinanceReport::into_folder(pool, folder));
    }
    if is_wanted(&notices()) {
        add_notices(worker, &config.mail)?;
    }
    if is_wanted(&payments()) {
        let (outbox, gateways) = (config.outbox.clone(), config.gateways.clone());
        worker.external(payments(), Payments::new(outbox, gateways));
    }
    if is_wanted(&refunds()) {
        worker.external(refunds(), Refunds::new(config.gateways.clone()));
    }
    Ok(())
}

fn add_notices(worker: &mut Worker, mail: &MailConfig) -> Result<(), AddError> {
    let from = mail.from.clone();
    match &mail.sink {
        MailSink::Folder(root) => {
            worker.external(notices(), Notices::new(EmlFolder::create(root)?, from));
        }
        MailSink::Smtp(url) => {
            worker.external(notices(), Notices::new(Smtp::new(url.clone())?, from));
        }
        MailSink::Count => worker.external(notices(), Notices::new(Counting::default(), from)),
    }
    Ok(())
}
