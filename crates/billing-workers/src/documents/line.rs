//! The line: documents are made durable together, so that a thousand do not cost a thousand waits
//! for the disk.
//!
//! One line for the whole process. Whoever comes while files are being written is written with the
//! next ones; nobody waits for company.

use std::sync::{Arc, OnceLock};

use billing::document::{self, Written};
use outbox::Act;
use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, oneshot};

use super::Draft;
use super::folder::{Folder, FolderError, NewFile};

/// A few megabytes, rendered and held at once.
const TOGETHER_MAX: usize = 512;

/// Writes drafts into a folder.
#[derive(Debug)]
pub(super) struct Line {
    folder: Arc<Folder>,
    open: OnceLock<mpsc::Sender<Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    draft: Arc<Draft>,
    answer: oneshot::Sender<Act<Written>>,
}

impl Line {
    pub(super) fn into_folder(folder: Folder) -> Self {
        Self {
            folder: Arc::new(folder),
            open: OnceLock::new(),
        }
    }

    /// Writes a document. It is durable when this returns its proof.
    pub(super) async fn write(&self, draft: Arc<Draft>) -> Act<Written> {
        let (answer, answered) = oneshot::channel();
        let line = self.open.get_or_init(|| open(Arc::clone(&self.folder)));
        if line.send(Waiting { draft, answer }).await.is_err() {
            return broken();
        }
        answered.await.unwrap_or_else(|_| broken())
    }
}

fn broken() -> Act<Written> {
    Act::Retry {
        error: "the writing of documents broke off".to_owned(),
        after: None,
    }
}

fn open(folder: Arc<Folder>) -> mpsc::Sender<Waiting> {
    let (line, mut waiting) = mpsc::channel(TOGETHER_MAX);
    tokio::spawn(async move {
        let mut batch = Vec::new();
        while waiting.recv_many(&mut batch, TOGETHER_MAX).await > 0 {
            let (folder, batch) = (Arc::clone(&folder), std::mem::take(&mut batch));
            // A panic over one batch must not end the line.
            let writing = tokio::task::spawn_blocking(move || write_all(&folder, batch));
            if let Err(error) = writing.await {
                tracing::error!(%error, "The writing of a batch of documents broke off");
            }
        }
    });
    line
}

fn write_all(folder: &Folder, batch: Vec<Waiting>) {
    let pages: Vec<String> = batch
        .iter()
        .map(|waiting| document::render(&waiting.draft.invoice))
        .collect();
    let files = batch.iter().zip(&pages).map(|(waiting, page)| NewFile {
        path: &waiting.draft.path,
        bytes: page.as_bytes(),
        again: waiting.draft.is_again,
    });
    let written = folder.write_all(&files.collect::<Vec<_>>());
    for ((waiting, page), written) in batch.into_iter().zip(pages).zip(written) {
        let act = match written {
            Ok(()) => Act::Answer(proof(&waiting.draft, &page)),
            Err(error) => failed(&error),
        };
        // A call that was given up meanwhile is not told; the same bytes are written again.
        if waiting.answer.send(act).is_err() {
            tracing::debug!("A document was given up while it was written");
        }
    }
}

fn proof(draft: &Draft, page: &str) -> Written {
    Written {
        invoice_id: draft.invoice.invoice_id,
        sha256: Sha256::digest(page).into(),
        bytes: i64::try_from(page.len()).unwrap_or(i64::MAX),
    }
}

fn failed(error: &FolderError) -> Act<Written> {
    let text = error.to_string();
    if error.is_of_the_folder() {
        Act::Unavailable {
            error: text,
            after: None,
        }
    } else {
        Act::Retry {
            error: text,
            after: None,
        }
    }
}
