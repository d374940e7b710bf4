//! A server that speaks in bytes: it does to a connection what a gateway, a box between or a crash
//! does.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What happens to one request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reply {
    /// These bytes.
    Bytes(&'static str),
    /// The connection ends before the request is read: a reset.
    Reset,
    /// The request is read and the connection ends.
    Close,
    /// The request is read, and nothing follows.
    Hang,
}

pub(crate) struct Raw {
    pub(crate) url: String,
    /// Requests that were read to their end.
    read: Arc<AtomicUsize>,
}

impl Raw {
    /// Replies to the requests of each connection in turn, then closes it. What comes after the
    /// last connection of the script is refused.
    pub(crate) async fn start(script: Vec<Vec<Reply>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let raw = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            read: Arc::default(),
        };
        let read = Arc::clone(&raw.read);
        tokio::spawn(async move {
            for replies in script {
                let (stream, _) = listener.accept().await.unwrap();
                serve(stream, replies, Arc::clone(&read)).await;
            }
        });
        raw
    }

    pub(crate) fn read(&self) -> usize {
        self.read.load(Ordering::SeqCst)
    }
}

async fn serve(mut stream: TcpStream, replies: Vec<Reply>, read: Arc<AtomicUsize>) {
    for reply in replies {
        if matches!(reply, Reply::Reset) {
            // Closing over bytes that nobody read resets the connection.
            stream.readable().await.unwrap();
            return;
        }
        if !read_request(&mut stream).await {
            return;
        }
        read.fetch_add(1, Ordering::SeqCst);
        match reply {
            Reply::Bytes(bytes) => stream.write_all(bytes.as_bytes()).await.unwrap(),
            Reply::Hang => return hold(stream).await,
            Reply::Close | Reply::Reset => return,
        }
    }
}

/// Until the other side has had enough.
async fn hold(mut stream: TcpStream) {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap_or_default();
}

/// False when the other side left instead.
async fn read_request(stream: &mut TcpStream) -> bool {
    let mut request = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let Ok(count @ 1..) = stream.read(&mut buffer).await else {
            return false;
        };
        request.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&request).to_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
            if body.len() >= length {
                return true;
            }
        }
    }
}
