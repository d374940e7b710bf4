//! A line to the server that freezes where the test wants: at the first statement with a certain
//! text, the client is held as a suspended machine would be, and later let go.

use std::path::Path;

use sqlx::postgres::PgConnectOptions;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;

use crate::scene::until;

/// The statement with which a worker reads a tick that holds events.
pub(crate) const PAGE: &str = "-- log: page of the interactive lane";

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Flowing,
    Frozen,
    Thawed,
    Answered,
}

pub(crate) struct Proxy {
    url: String,
    stage: watch::Sender<Stage>,
}

impl Proxy {
    /// Freezes the connection that first sends `text`.
    pub(crate) async fn start(url: &str, text: &'static str) -> Self {
        let options: PgConnectOptions = url.parse().unwrap();
        let folder = options.get_socket().unwrap();
        let socket = Path::new(folder).join(format!(".s.PGSQL.{}", options.get_port()));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (stage, _) = watch::channel(Stage::Flowing);
        let shared = stage.clone();
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = UnixStream::connect(&socket).await.unwrap();
                tokio::spawn(join(client, server, text, shared.clone()));
            }
        });
        // The folder's slashes are escaped where a host's name stands.
        let (login, place) = url.rsplit_once('@').unwrap();
        let (_, database) = place.split_once('/').unwrap();
        let url = format!("{login}@127.0.0.1:{port}/{database}");
        Self { url, stage }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) async fn until_frozen(&self) {
        until("the line freezes", async || {
            *self.stage.borrow() == Stage::Frozen
        })
        .await;
    }

    pub(crate) fn thaw(&self) {
        self.stage.send_replace(Stage::Thawed);
    }

    /// Until the server has answered what was held.
    pub(crate) async fn until_answered(&self) {
        until("the server answers", async || {
            *self.stage.borrow() == Stage::Answered
        })
        .await;
    }
}

/// Carries bytes both ways until one side closes.
async fn join(client: TcpStream, server: UnixStream, text: &str, stage: watch::Sender<Stage>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let held = std::sync::atomic::AtomicBool::new(false);
    let mut changes = stage.subscribe();
    let up = async {
        let mut buffer = vec![0; 65_536];
        while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
            let found = buffer[..length]
                .windows(text.len())
                .any(|part| part == text.as_bytes());
            if found && *stage.borrow() == Stage::Flowing {
                stage.send_replace(Stage::Frozen);
                changes
                    .wait_for(|stage| *stage >= Stage::Thawed)
                    .await
                    .unwrap();
                held.store(true, std::sync::atomic::Ordering::Relaxed);
            }
            if to_server.write_all(&buffer[..length]).await.is_err() {
                return;
            }
        }
    };
    let down = async {
        let mut buffer = vec![0; 65_536];
        while let Ok(length @ 1..) = from_server.read(&mut buffer).await {
            if to_client.write_all(&buffer[..length]).await.is_err() {
                return;
            }
            if held.swap(false, std::sync::atomic::Ordering::Relaxed) {
                stage.send_replace(Stage::Answered);
            }
        }
    };
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}
