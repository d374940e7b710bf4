//! A mail server: the protocol is the crate `mailin`'s, the connections are ours, so that a test
//! can refuse, break off, or say nothing where it wants.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use mailin::{Action, AuthMechanism, Handler, Response, Session, SessionBuilder};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What the server does differently from a good one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Mood {
    #[default]
    Good,
    /// Answers `MAIL FROM` so.
    Sender(u16, &'static str),
    /// Answers `RCPT TO` so.
    Recipient(u16, &'static str),
    /// Answers the content so.
    Content(u16, &'static str),
    /// Breaks off instead of answering the recipient.
    BreakAtRecipient,
    /// Takes the content and breaks off instead of answering it.
    BreakAtContent,
    /// Breaks off when it is asked whether it is still there.
    BreakAtNoop,
    /// Takes the content and answers nothing.
    SilentAtContent,
    /// Wants a password first.
    Login,
}

#[derive(Debug, Default)]
struct Seen {
    mood: Mood,
    contents: Vec<String>,
    recipients: Vec<String>,
    logins: Vec<String>,
    connections: usize,
}

/// A server that listens until it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    listening: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start(mood: Mood) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Seen {
            mood,
            ..Seen::default()
        }));
        let listening = tokio::spawn(listen(listener, Arc::clone(&seen)));
        Self {
            address,
            seen,
            listening,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    pub(crate) fn mood(&self, mood: Mood) {
        self.seen.lock().unwrap().mood = mood;
    }

    /// The mails that arrived whole, in the words of the sender.
    pub(crate) fn contents(&self) -> Vec<String> {
        self.seen.lock().unwrap().contents.clone()
    }

    pub(crate) fn recipients(&self) -> Vec<String> {
        self.seen.lock().unwrap().recipients.clone()
    }

    pub(crate) fn logins(&self) -> Vec<String> {
        self.seen.lock().unwrap().logins.clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.seen.lock().unwrap().connections
    }

    /// The `Message-ID` of each mail that arrived.
    pub(crate) fn message_ids(&self) -> Vec<String> {
        let id = |content: String| {
            let line = content
                .lines()
                .find_map(|line| line.strip_prefix("Message-ID: "));
            line.unwrap_or("none").trim_end().to_owned()
        };
        self.contents().into_iter().map(id).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn listen(listener: TcpListener, seen: Arc<Mutex<Seen>>) {
    let mut sessions = tokio::task::JoinSet::new();
    while let Ok((stream, from)) = listener.accept().await {
        seen.lock().unwrap().connections += 1;
        let mail = Incoming {
            seen: Arc::clone(&seen),
            content: Vec::new(),
        };
        let mut session = SessionBuilder::new("mail.example");
        if seen.lock().unwrap().mood == Mood::Login {
            session
                .enable_auth(AuthMechanism::Plain)
                .insecure_enable_plaintext_auth();
        }
        let session = session.build(from.ip(), mail);
        sessions.spawn(speak(stream, session, Arc::clone(&seen)));
    }
}

async fn speak(
    stream: TcpStream,
    mut session: Session<Incoming>,
    seen: Arc<Mutex<Seen>>,
) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(&session.greeting().buffer()?).await?;
    let mut line = Vec::new();
    while stream.read_until(b'\n', &mut line).await? > 0 {
        let response = session.process(&line);
        let mood = seen.lock().unwrap().mood;
        let is_content = response.code == 250 && line == b".\r\n";
        match mood {
            Mood::BreakAtRecipient if line.starts_with(b"RCPT") => return Ok(()),
            Mood::BreakAtNoop if line.starts_with(b"NOOP") => return Ok(()),
            // The mail is kept all the same.
            Mood::BreakAtContent if is_content => return Ok(()),
            Mood::SilentAtContent if is_content => {}
            _ => stream.write_all(&response.buffer()?).await?,
        }
        line.clear();
        if response.action == Action::Close {
            return Ok(());
        }
    }
    Ok(())
}

/// One connection's mails.
struct Incoming {
    seen: Arc<Mutex<Seen>>,
    content: Vec<u8>,
}

impl Incoming {
    fn mood(&self) -> Mood {
        self.seen.lock().unwrap().mood
    }
}

fn said(code: u16, words: &str) -> Response {
    Response::custom(code, words.to_owned())
}

impl Handler for Incoming {
    fn mail(&mut self, _: IpAddr, _: &str, _: &str) -> Response {
        match self.mood() {
            Mood::Sender(code, words) => said(code, words),
            _ => mailin::response::OK,
        }
    }

    fn rcpt(&mut self, to: &str) -> Response {
        self.seen.lock().unwrap().recipients.push(to.to_owned());
        match self.mood() {
            Mood::Recipient(code, words) => said(code, words),
            _ => mailin::response::OK,
        }
    }

    fn data(&mut self, line: &[u8]) -> io::Result<()> {
        self.content.extend_from_slice(line);
        Ok(())
    }

    fn data_end(&mut self) -> Response {
        let content = String::from_utf8(std::mem::take(&mut self.content)).unwrap();
        match self.mood() {
            Mood::Content(code, words) => said(code, words),
            _ => {
                self.seen.lock().unwrap().contents.push(content);
                mailin::response::OK
            }
        }
    }

    fn auth_plain(&mut self, _: &str, user: &str, password: &str) -> Response {
        self.seen
            .lock()
            .unwrap()
            .logins
            .push(format!("{user} {password}"));
        match password {
            "right" => mailin::response::AUTH_OK,
            _ => mailin::response::INVALID_CREDENTIALS,
        }
    }
}
