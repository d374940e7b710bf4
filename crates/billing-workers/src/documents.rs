//! The consumer that writes each final invoice's document into a folder.
//!
//! The intent row is there before the file, and says at the end what was written. Whoever is
//! stopped in between writes the same bytes to the same path again.

use std::path::Path;
use std::sync::Arc;

use billing::document::{self, FrozenInvoice, LoadError, Written};
use billing::ids::InvoiceId;
use outbox::{Act, Dedupe, Event, External, Failure, Load, UnitOfWork};

use crate::payload::{InvoiceFinalizedV1, Payload};

pub(crate) mod folder;
mod line;

use folder::Folder;
pub use folder::FolderError;
use line::Line;

/// Writes the documents.
#[derive(Debug, Clone)]
pub struct Documents {
    line: Arc<Line>,
}

/// A document to be written.
#[derive(Debug)]
pub struct Draft {
    invoice: FrozenInvoice,
    path: String,
    /// Whether an earlier attempt may have left an unfinished file.
    is_again: bool,
}

impl Documents {
    /// The documents of a folder, which is created if it is not there.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn in_folder(root: &Path) -> Result<Self, FolderError> {
        Ok(Self {
            line: Arc::new(Line::into_folder(Folder::create(root, "documents'")?)),
        })
    }
}

impl External for Documents {
    type Intent = Arc<Draft>;
    type Answer = Written;

    const DEDUPE: Dedupe = Dedupe::IdempotentSink;

    async fn load(
        &self,
        tx: &mut UnitOfWork,
        events: &[Event],
    ) -> Result<Vec<Load<Arc<Draft>>>, Failure> {
        let read = |event| InvoiceFinalizedV1::of(event).map(|read| read.invoice_id);
        let ids: Vec<InvoiceId> = events.iter().map(read).collect::<Result<_, _>>()?;
        let invoices = document::load_all(tx, &ids).await.map_err(failure)?;
        let intents = document::intend_all(tx, &invoices).await?;
        let loads = invoices.into_iter().zip(intents).map(|(invoice, intent)| {
            // One that was written is written again: a replay brings back files that were lost.
            Load::Call(Arc::new(Draft {
                invoice,
                path: intent.path,
                is_again: intent.is_again,
            }))
        });
        Ok(loads.collect())
    }

    async fn act(&self, draft: &Arc<Draft>) -> Act<Written> {
        self.line.write(Arc::clone(draft)).await
    }

    async fn settle(
        &self,
        tx: &mut UnitOfWork,
        answers: Vec<(Arc<Draft>, Written)>,
    ) -> Result<(), Failure> {
        let written: Vec<Written> = answers.into_iter().map(|(_, written)| written).collect();
        document::written(tx, &written).await?;
        Ok(())
    }
}

fn failure(error: LoadError) -> Failure {
    match error {
        LoadError::Database(error) => Failure::Database(error),
        error => Failure::retry(error),
    }
}
