//! A NATS server of a test's own, whose store outlives its end.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use async_nats::jetstream::stream::Stream;
use async_nats::jetstream::{self, message::StreamMessage};
use async_nats::{Client, ConnectOptions};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use uuid::Uuid;

use crate::scene::until;

pub(crate) struct Nats {
    child: Option<Child>,
    port: u16,
    store: TempDir,
    /// What lets in only who is allowed to; nothing lets in everybody.
    config: Option<PathBuf>,
}

impl Nats {
    pub(crate) async fn start() -> Self {
        let mut nats = Self::stopped(None);
        nats.restart().await;
        nats
    }

    /// One that lets in whom its configuration says.
    pub(crate) async fn secured(config: &Path) -> Self {
        let mut nats = Self::stopped(Some(config.to_owned()));
        nats.spawn().await;
        nats
    }

    fn stopped(config: Option<PathBuf>) -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        let store = tempfile::tempdir().unwrap();
        Self {
            child: None,
            port,
            store,
            config,
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Starts it again on the store that it left.
    pub(crate) async fn restart(&mut self) {
        self.spawn().await;
        let jetstream = jetstream::new(self.client().await);
        until("JetStream answers", async || {
            jetstream.query_account().await.is_ok()
        })
        .await;
    }

    async fn spawn(&mut self) {
        let config = self.config.iter().flat_map(|file| [Path::new("-c"), file]);
        let child = Command::new(testkit::nats_server().unwrap())
            .args(config)
            .args([
                "-a",
                "127.0.0.1",
                "-p",
                &self.port.to_string(),
                "-js",
                "-sd",
            ])
            .arg(self.store())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        self.child = Some(child.unwrap());
        until("the NATS server answers", async || {
            tokio::net::TcpStream::connect(("127.0.0.1", self.port))
                .await
                .is_ok()
        })
        .await;
    }

    pub(crate) fn store(&self) -> &Path {
        self.store.path()
    }

    /// As `kill -9`.
    pub(crate) async fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().await.unwrap();
    }

    /// Stops (`STOP`) or continues (`CONT`) it.
    pub(crate) async fn signal(&self, signal: &str) {
        let pid = self.child.as_ref().unwrap().id().unwrap();
        let sent = Command::new("kill")
            .args([format!("-{signal}"), pid.to_string()])
            .status();
        assert!(sent.await.unwrap().success());
    }

    pub(crate) async fn client(&self) -> Client {
        ConnectOptions::new()
            .reconnect_delay_callback(|_| Duration::from_millis(20))
            .request_timeout(Some(Duration::from_secs(2)))
            .connect(format!("127.0.0.1:{}", self.port))
            .await
            .unwrap()
    }

    pub(crate) async fn stream(&self, prefix: &str) -> Stream {
        let jetstream = jetstream::new(self.client().await);
        let name = format!("{prefix}_interactive");
        jetstream.get_stream(name).await.unwrap()
    }

    pub(crate) async fn message(&self, prefix: &str, sequence: u64) -> StreamMessage {
        let stream = self.stream(prefix).await;
        stream.get_raw_message(sequence).await.unwrap()
    }

    /// The ids of all events in a stream; what is foreign is left out.
    pub(crate) async fn ids(&self, prefix: &str) -> Vec<Uuid> {
        let stream = self.stream(prefix).await;
        let state = stream.cached_info().state.clone();
        let mut ids = Vec::new();
        for sequence in state.first_sequence..=state.last_sequence {
            let Ok(message) = stream.get_raw_message(sequence).await else {
                continue;
            };
            if let Some(id) = message.headers.get("ce-id") {
                ids.push(id.as_str().parse().unwrap());
            }
        }
        ids
    }
}
