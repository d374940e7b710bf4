//! A NATS server with JetStream, of a test's own.

use std::net::TcpListener;
use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;
use testkit::until;
use tokio::process::{Child, Command};

use super::{PATIENCE, http};

/// Killed when the test forgets it.
pub(crate) struct Nats {
    _server: Child,
    _store: TempDir,
    url: String,
    /// Where it tells how it stands.
    monitor: String,
}

impl Nats {
    pub(crate) async fn start() -> Self {
        let [port, monitor] = [free_port(), free_port()];
        let store = tempfile::tempdir().unwrap();
        let server = Command::new(testkit::nats_server().unwrap())
            .args(["-a", "127.0.0.1", "-p", &port, "-m", &monitor, "-js", "-sd"])
            .arg(store.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let nats = Self {
            _server: server,
            _store: store,
            url: format!("nats://127.0.0.1:{port}"),
            monitor: format!("127.0.0.1:{monitor}"),
        };
        until("the NATS server answers", PATIENCE, async || {
            http::text(&nats.monitor, "/healthz")
                .await?
                .contains("ok")
                .then_some(())
        })
        .await
        .unwrap();
        nats
    }

    /// What a program is told, to use it.
    pub(crate) fn arguments(&self) -> String {
        format!("--transport nats --nats-url {}", self.url)
    }

    /// How many messages a stream holds.
    pub(crate) async fn messages(&self, stream: &str) -> i64 {
        self.stream(stream)
            .await
            .map_or(0, |stream| stream["state"]["messages"].as_i64().unwrap())
    }

    async fn stream(&self, name: &str) -> Option<Value> {
        let page = http::text(&self.monitor, "/jsz?streams=true").await?;
        let (_, body) = page.split_once("\r\n\r\n")?;
        let about: Value = serde_json::from_str(body).ok()?;
        let accounts = about["account_details"].as_array()?.iter();
        let mut streams = accounts
            .filter_map(|of| of["stream_detail"].as_array())
            .flatten();
        streams.find(|stream| stream["name"] == name).cloned()
    }
}

fn free_port() -> String {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap().port().to_string()
}
