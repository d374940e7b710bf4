//! The sink that writes each mail into a folder, as a file that every mail program opens.

use std::path::Path;
use std::sync::Arc;

use billing::notice::{Mail, Outcome};
use lettre::Message;
use outbox::{Act, Dedupe};

use super::Sink;
use crate::documents::folder::{Folder, FolderError};

/// A folder of mails: `2024-10/03/14.25/ntc_….eml`, by the minute in which each was first intended
/// (UTC). A day's mails in one folder could be a million.
#[derive(Debug, Clone)]
pub struct EmlFolder(Arc<Folder>);

impl EmlFolder {
    /// The mails of a folder, which is created if it is not there.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn create(root: &Path) -> Result<Self, FolderError> {
        Ok(Self(Arc::new(Folder::create(root, "mail")?)))
    }
}

impl Sink for EmlFolder {
    const DEDUPE: Dedupe = Dedupe::IdempotentSink;

    async fn send(&self, mail: &Mail, message: Message) -> Act<Outcome> {
        let path = format!(
            "{}/{}.eml",
            mail.date.format("%Y-%m/%d/%H.%M"),
            mail.notice_id
        );
        let (folder, is_again) = (Arc::clone(&self.0), mail.is_again);
        let write = move || folder.write(&path, &message.formatted(), is_again);
        let error = match tokio::task::spawn_blocking(write).await {
            Ok(Ok(())) => return Act::Answer(Outcome::Sent),
            Ok(Err(error)) if error.is_of_the_folder() => {
                return Act::Unavailable {
                    error: error.to_string(),
                    after: None,
                };
            }
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        Act::Retry { error, after: None }
    }
}
