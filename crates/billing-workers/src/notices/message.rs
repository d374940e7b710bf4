//! The message: a notice as the bytes that mail servers and mail programs read.

use std::time::SystemTime;

use billing::notice::Mail;
use lettre::Message;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};

/// Who sends the notices.
#[derive(Debug, Clone)]
pub struct Sender(Mailbox);

/// Why a text is not a sender.
#[derive(Debug, thiserror::Error)]
#[error("BILLING_MAIL_FROM: {from:?} is not a sender, such as Billing <billing@example.com>")]
pub struct SenderError {
    from: String,
}

/// Why a mail cannot be addressed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unsendable {
    /// The recipient's address.
    #[error("{0:?} is not an address that mail can be sent to")]
    Recipient(String),
    /// What mail programs would not read.
    #[error("the mail cannot be written")]
    Message(#[from] lettre::error::Error),
}

impl Sender {
    /// A sender as people write one: `Billing <billing@example.com>`.
    ///
    /// # Errors
    /// [`SenderError`].
    pub fn parse(from: &str) -> Result<Self, SenderError> {
        let mailbox = from.parse().map(Self);
        mailbox.map_err(|_| SenderError {
            from: from.to_owned(),
        })
    }

    /// The host of its address.
    pub(super) fn host(&self) -> &str {
        self.0.email.domain()
    }

    /// The same mail gives the same bytes: nothing in it is from a clock or by chance.
    pub(super) fn message(&self, mail: &Mail) -> Result<Message, Unsendable> {
        let to = mail.to.parse();
        let to = to.map_err(|_| Unsendable::Recipient(mail.to.clone()))?;
        // It keeps programs that answer for people on holiday from answering.
        let automatic = HeaderValue::new(
            HeaderName::new_from_ascii_str("Auto-Submitted"),
            "auto-generated".to_owned(),
        );
        let parts = MultiPart::alternative()
            .boundary(mail.notice_id.to_string())
            .singlepart(SinglePart::plain(mail.text.clone()))
            .singlepart(SinglePart::html(mail.html.clone()));
        let message = Message::builder()
            .from(self.0.clone())
            .to(Mailbox::new(None, to))
            .subject(mail.subject.as_str())
            .date(SystemTime::from(mail.date))
            .message_id(Some(mail.message_id.clone()))
            .raw_header(automatic)
            .multipart(parts)?;
        Ok(message)
    }
}

#[cfg(test)]
mod tests {
    use billing::ids::NoticeId;
    use uuid::Uuid;

    use super::*;

    fn mail(to: &str) -> Mail {
        Mail {
            notice_id: NoticeId::from(Uuid::nil()),
            to: to.to_owned(),
            subject: "Rechnung über 10 €".to_owned(),
            text: "Dear Müller & Söhne,\n".to_owned(),
            html: "<p>Dear Müller &#38; Söhne,</p>\n".to_owned(),
            message_id: "<ntc_1@example.com>".to_owned(),
            date: "2024-10-01T07:00:00Z".parse().unwrap(),
            is_again: false,
        }
    }

    fn sender() -> Sender {
        Sender::parse("Bücher & Co <billing@example.com>").unwrap()
    }

    #[test]
    fn a_message_has_all_that_a_mail_program_asks_for_and_is_the_same_each_time() {
        let message = || sender().message(&mail("ada@example.org")).unwrap();

        let bytes = String::from_utf8(message().formatted()).unwrap();

        assert_eq!(bytes.as_bytes(), message().formatted());
        for line in [
            "To: ada@example.org\r\n",
            "Message-ID: <ntc_1@example.com>\r\n",
            "Date: Tue, 01 Oct 2024 07:00:00 +0000\r\n",
            "Auto-Submitted: auto-generated\r\n",
            "Content-Type: multipart/alternative;\r\n",
            "Content-Type: text/plain; charset=utf-8\r\n",
            "Content-Type: text/html; charset=utf-8\r\n",
            "Dear M=C3=BCller & S=C3=B6hne,\r\n",
        ] {
            assert!(bytes.contains(line), "{line} in {bytes}");
        }
        assert!(bytes.is_ascii(), "{bytes}");
    }

    #[test]
    fn a_line_break_in_a_subject_begins_no_header() {
        let subject = "Invoice\r\nBcc: eve@example.com".to_owned();
        let mail = Mail {
            subject,
            ..mail("ada@example.org")
        };

        let bytes = sender().message(&mail).unwrap().formatted();

        let text = String::from_utf8(bytes).unwrap();
        assert!(!text.contains("\nBcc:"), "{text}");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for wrong in ["ada", "a@b, c@d", "ada@example.org\r\nBcc: eve@example.com"] {
            assert!(sender().message(&mail(wrong)).is_err(), "{wrong}");
            assert!(Sender::parse(wrong).is_err(), "{wrong}");
        }
    }
}
