//! Where a site's mail goes, and whom it is from.

use std::path::{Path, PathBuf};

use super::message::{Sender, SenderError};
use super::smtp::{SmtpUrl, SmtpUrlError};

/// Whom mail is from where nobody said otherwise.
const FROM: &str = "Billing <billing@localhost>";

/// Where mail goes.
#[derive(Debug, Clone)]
pub enum MailSink {
    /// Into a folder, one file per mail.
    Folder(PathBuf),
    /// To a mail server.
    Smtp(SmtpUrl),
    /// Nowhere; it is counted.
    Count,
}

/// How a site sends its notices.
#[derive(Debug, Clone)]
pub struct MailConfig {
    /// Where they go.
    pub sink: MailSink,
    /// Whom they are from.
    pub from: Sender,
}

/// Why mail cannot be sent as configured.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// The server's URL.
    #[error(transparent)]
    Url(#[from] SmtpUrlError),
    /// The sender.
    #[error(transparent)]
    From(#[from] SenderError),
}

impl MailConfig {
    /// What the variables `BILLING_SMTP_URL` and `BILLING_MAIL_FROM` say. Without a server mail
    /// goes into `mail` in the data folder.
    ///
    /// # Errors
    /// [`MailError`].
    pub fn from_variables(data_dir: &Path) -> Result<Self, MailError> {
        let (url, from) = ("BILLING_SMTP_URL", "BILLING_MAIL_FROM");
        let [url, from] = [url, from].map(|name| std::env::var(name).ok());
        Self::new(data_dir.join("mail"), url.as_deref(), from.as_deref())
    }

    /// The server of `BILLING_SMTP_URL` and the sender of `BILLING_MAIL_FROM`, as they were given;
    /// the folder without a server. An empty text is as good as none.
    ///
    /// # Errors
    /// [`MailError`].
    pub fn new(
        folder: PathBuf,
        smtp_url: Option<&str>,
        from: Option<&str>,
    ) -> Result<Self, MailError> {
        let given = |text: &&str| !text.is_empty();
        let sink = match smtp_url.filter(given) {
            Some(url) => MailSink::Smtp(SmtpUrl::parse(url)?),
            None => MailSink::Folder(folder),
        };
        let from = Sender::parse(from.filter(given).unwrap_or(FROM))?;
        Ok(Self { sink, from })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_server_mail_goes_into_the_folder() {
        let config = MailConfig::new("mail".into(), Some(""), None).unwrap();

        assert!(matches!(config.sink, MailSink::Folder(folder) if folder.ends_with("mail")));
        assert_eq!(config.from.host(), "localhost");
    }

    #[test]
    fn a_server_and_a_sender_are_taken_from_what_was_given() {
        let (url, from) = ("smtps://ada:s@h.example", "Ada <ada@example.com>");

        let config = MailConfig::new("mail".into(), Some(url), Some(from)).unwrap();

        assert!(matches!(config.sink, MailSink::Smtp(_)));
        assert_eq!(config.from.host(), "example.com");
        assert!(MailConfig::new("mail".into(), None, Some("nobody")).is_err());
    }
}
