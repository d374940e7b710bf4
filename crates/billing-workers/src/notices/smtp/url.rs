//! The URL of a mail server, whose password nobody gets to see.

use std::fmt;
use std::net::IpAddr;

use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::TlsParameters;
use lettre::transport::smtp::extension::ClientId;
use percent_encoding::percent_decode_str;
use url::{Host, Url};

/// Where mail is handed over: `smtps://user:password@host` or
/// `smtp://user:password@host:587?tls=required`, with a path for the name in our greeting.
#[derive(Clone, PartialEq, Eq)]
pub struct SmtpUrl {
    host: String,
    port: u16,
    security: Security,
    credentials: Option<Credentials>,
    hello: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Security {
    /// Encrypted from the first byte.
    Wrapped,
    /// Encrypted by STARTTLS, or not used.
    Required,
    /// Readable on its way.
    Plain,
}

/// Why a URL cannot be used. It never repeats the URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SmtpUrlError {
    /// Not one at all, or not of a mail server.
    #[error(
        "BILLING_SMTP_URL cannot be read ({0}): it should look like \
         smtps://user:password@host or smtp://user:password@host:587?tls=required"
    )]
    Shape(&'static str),
    /// A password that everybody on the way could read.
    #[error("BILLING_SMTP_URL has a password and no encryption: use smtps:// or add ?tls=required")]
    PasswordInTheClear,
    /// The host cannot have a certificate.
    #[error("the host {0} of BILLING_SMTP_URL cannot be asked for its certificate")]
    Host(String),
}

impl SmtpUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`SmtpUrlError`].
    pub fn parse(text: &str) -> Result<Self, SmtpUrlError> {
        let url = Url::parse(text).map_err(|_| SmtpUrlError::Shape("it is no URL"))?;
        let host = url.host().ok_or(SmtpUrlError::Shape("it has no host"))?;
        let host = match host {
            Host::Ipv6(address) => address.to_string(),
            host => host.to_string(),
        };
        let security = security(&url)?;
        let credentials = credentials(&url)?;
        if credentials.is_some() && security == Security::Plain && !is_here(&host) {
            return Err(SmtpUrlError::PasswordInTheClear);
        }
        let port = url.port().unwrap_or(match security {
            Security::Wrapped => 465,
            Security::Required => 587,
            Security::Plain => 25,
        });
        let hello = url.path().trim_matches('/');
        Ok(Self {
            host,
            port,
            security,
            credentials,
            hello: (!hello.is_empty()).then(|| hello.to_owned()),
        })
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn is_wrapped(&self) -> bool {
        self.security == Security::Wrapped
    }

    pub(super) fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    pub(super) fn hello(&self) -> ClientId {
        self.hello
            .clone()
            .map_or_else(ClientId::default, ClientId::Domain)
    }

    pub(super) fn tls_parameters(&self) -> Result<Option<TlsParameters>, SmtpUrlError> {
        if self.security == Security::Plain {
            return Ok(None);
        }
        let parameters = TlsParameters::new(self.host.clone());
        parameters
            .map(Some)
            .map_err(|_| SmtpUrlError::Host(self.host.clone()))
    }
}

impl fmt::Display for SmtpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mail server {}:{}", self.host, self.port)
    }
}

impl fmt::Debug for SmtpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn security(url: &Url) -> Result<Security, SmtpUrlError> {
    let mut tls = url.query_pairs().filter(|(name, _)| name == "tls");
    let tls = tls.next().map(|(_, value)| value.into_owned());
    match (url.scheme(), tls.as_deref()) {
        ("smtps", None) => Ok(Security::Wrapped),
        ("smtp", Some("required")) => Ok(Security::Required),
        ("smtp", None) => Ok(Security::Plain),
        ("smtp", Some(_)) => Err(SmtpUrlError::Shape("tls can only be `required`")),
        ("smtps", Some(_)) => Err(SmtpUrlError::Shape("smtps is encrypted already")),
        _ => Err(SmtpUrlError::Shape("it begins with neither smtp nor smtps")),
    }
}

fn credentials(url: &Url) -> Result<Option<Credentials>, SmtpUrlError> {
    let Some(password) = url.password() else {
        return match url.username() {
            "" => Ok(None),
            _ => Err(SmtpUrlError::Shape("it has a user and no password")),
        };
    };
    let plain = |text| {
        let decoded = percent_decode_str(text).decode_utf8();
        decoded
            .map(|text| text.into_owned())
            .map_err(|_| SmtpUrlError::Shape("its user or password is not UTF-8"))
    };
    let credentials = Credentials::new(plain(url.username())?, plain(password)?);
    Ok(Some(credentials))
}

/// Whether what is sent there stays on this machine.
fn is_here(host: &str) -> bool {
    // Outside the web's schemes the address of a URL is a name like any other.
    let address: Result<IpAddr, _> = host.parse();
    address.map_or(host == "localhost", |address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_and_how() {
        let read = |text: &str| {
            let url = SmtpUrl::parse(text).unwrap();
            (url.port, url.security, url.credentials.is_some())
        };

        assert_eq!(
            read("smtps://ada:s@h.example"),
            (465, Security::Wrapped, true)
        );
        let required = "smtp://ada:s@h.example?tls=required";
        assert_eq!(read(required), (587, Security::Required, true));
        assert_eq!(
            read("smtp://h.example:2525"),
            (2525, Security::Plain, false)
        );
        for here in ["127.0.0.1", "[::1]", "localhost"] {
            let url = format!("smtp://ada:s@{here}");
            assert_eq!(read(&url), (25, Security::Plain, true));
        }
    }

    #[test]
    fn a_password_is_decoded_and_never_shown() {
        let url = SmtpUrl::parse("smtps://ada%40h:se%2Fcret@h.example/me.example").unwrap();

        let expected = Credentials::new("ada@h".to_owned(), "se/cret".to_owned());
        assert_eq!(url.credentials, Some(expected));
        assert_eq!(url.hello(), ClientId::Domain("me.example".to_owned()));
        let smtp = crate::notices::Smtp::new(url.clone()).unwrap();
        assert_eq!(
            format!("{url} {url:?} {smtp:?}"),
            "mail server h.example:465 mail server h.example:465 Smtp(mail server h.example:465)"
        );
    }

    #[test]
    fn what_cannot_be_used_is_refused_and_its_password_not_told() {
        for wrong in [
            "ada:secret@h.example",
            "smtp://ada:secret@h.example",
            "smtp://ada:secret@h.example?tls=maybe",
            "smtps://ada:secret@h.example?tls=none",
            "http://ada:secret@h.example",
            "smtp://ada:secret@",
            "smtps://secret@h.example",
        ] {
            let error = SmtpUrl::parse(wrong).unwrap_err();

            assert!(!format!("{error} {error:?}").contains("secret"), "{wrong}");
        }
        let in_the_clear = SmtpUrl::parse("smtp://ada:secret@h.example").unwrap_err();
        assert_eq!(in_the_clear, SmtpUrlError::PasswordInTheClear);
    }
}
