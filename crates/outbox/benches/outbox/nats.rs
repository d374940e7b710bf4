//! A log that is drained from the stream of a NATS server, by handlers that do nothing.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use outbox::transport::Transport;
use outbox::transport::jetstream::{Access, JetStream, Publisher};
use outbox::{Lane, WorkerConfig};
use serde_json::Value;
use testkit::Server;
use tokio::process::{Child, Command};

use crate::figures::{Turn, median_of, number, per_s, rate, seconds, told};
use crate::log::Log;
use crate::server::{self, processor_ms_of};

/// How often a server that starts is asked whether it answers, and how many times.
const LOOK: Duration = Duration::from_millis(50);
const LOOKS: u32 = 200;

/// A server of our own that acknowledges what is on disk.
pub(crate) struct Nats {
    child: Child,
    _store: tempfile::TempDir,
    port: u16,
}

impl Nats {
    pub(crate) fn start() -> Result<Self> {
        let store = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let config = store.path().join("server.conf");
        let folder = store.path().join("streams");
        let text = format!("jetstream {{ store_dir: {folder:?}, sync_interval: always }}\n");
        std::fs::write(&config, text)?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?
            .local_addr()?
            .port();
        let child = Command::new(testkit::nats_server()?)
            .args(["-a", "127.0.0.1", "-p", &port.to_string(), "-c"])
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self {
            child,
            _store: store,
            port,
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    async fn streams(&self, prefix: &str) -> Result<JetStream> {
        streams(&self.url(), prefix).await
    }
}

/// The streams of a server that may have been started a moment ago.
pub(crate) async fn streams(url: &str, prefix: &str) -> Result<JetStream> {
    let access = Access {
        url: url.to_owned(),
        credentials: None,
        ca: None,
    };
    for _ in 1..LOOKS {
        if let Ok(streams) = JetStream::connect(&access, prefix).await {
            return Ok(streams);
        }
        outbox::clock::pause(LOOK).await;
    }
    Ok(JetStream::connect(&access, prefix).await?)
}

/// What was measured, turn by turn.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    published: Vec<Turn>,
    drained: Vec<Turn>,
    /// Processor time of the NATS server for both.
    broker_ms: Vec<u64>,
}

impl Turns {
    /// Fills a stream, and drains it. A tenth of the events: publishing waits for the disk.
    pub(crate) async fn measure(&mut self, server: &Server, turn: u32, events: u64) -> Result<()> {
        let events = (events / 10).max(1_000);
        let (nats, name) = (Nats::start()?, format!("nats_{turn}"));
        let log = Log::fresh(server, &name).await?;
        log.load(events).await?;
        server::checkpoint(server).await?;
        let streams = nats.streams(&name).await?;
        self.published
            .push(fill(server, &log, &streams, events).await?);
        let config = WorkerConfig {
            transport: Transport::JetStream(Box::new(streams)),
            ..WorkerConfig::default()
        };
        self.drained
            .push(crate::drain::from(server, &log, events, config).await?);
        self.broker_ms
            .push(nats.child.id().map_or(0, processor_ms_of));
        log.close().await;
        Ok(())
    }

    pub(crate) fn tell(self, drain: &mut Value) {
        let broker_s: Vec<_> = self.broker_ms.into_iter().map(seconds).collect();
        drain["nats_per_s"] = rate(&self.drained);
        drain["nats"] = told(&self.drained);
        drain["nats_published_per_s"] = rate(&self.published);
        drain["nats_published"] = told(&self.published);
        drain["nats_server_cpu_s"] = number(median_of(&broker_s));
    }
}

async fn fill(server: &Server, log: &Log, streams: &JetStream, events: u64) -> Result<Turn> {
    let mut publisher = Publisher::new(log.outbox.clone(), streams.clone(), Lane::Bulk);
    let (mark, began) = (server::mark(server).await?, Instant::now());
    let mut published = 0;
    loop {
        match publisher.step().await? {
            0 => break,
            number => published += number as u64,
        }
    }
    if published < events {
        bail!("{published} of {events} events are in the stream");
    }
    let turn = Turn {
        events: published,
        per_s: per_s(published, began.elapsed().as_micros()),
        spent: server::since(server, &mark).await?,
    };
    eprintln!("nats: {} events/s published", turn.per_s);
    Ok(turn)
}
