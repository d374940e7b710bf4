//! A log that is drained from the stream of a NATS server, by handlers that do nothing.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use outbox::transport::Transport;
use outbox::transport::jetstream::{Access, JetStream, Publisher};
use outbox::{Lane, WorkerConfig};
use rust_decimal::Decimal;
use testkit::Server;
use tokio::process::{Child, Command};

use crate::figures::per_s;
use crate::log::Log;

/// How often a server that starts is asked whether it answers, and how many times.
const LOOK: Duration = Duration::from_millis(50);
const LOOKS: u32 = 200;

/// A server of our own that acknowledges what is on disk.
struct Nats {
    _child: Child,
    _store: tempfile::TempDir,
    port: u16,
}

impl Nats {
    fn start() -> Result<Self> {
        let store = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let config = store.path().join("server.conf");
        let folder = store.path().join("streams");
        let text = format!("jetstream {{ store_dir: {folder:?}, sync_interval: always }}\n");
        std::fs::write(&config, text)?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?
            .local_addr()?
            .port();
        let child = Command::new(program()?)
            .args(["-a", "127.0.0.1", "-p", &port.to_string(), "-c"])
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self {
            _child: child,
            _store: store,
            port,
        })
    }

    async fn streams(&self, prefix: &str) -> Result<JetStream> {
        let access = Access {
            url: format!("nats://127.0.0.1:{}", self.port),
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
}

fn program() -> Result<PathBuf> {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/nats-server");
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join("nats-server"))
        .chain([ours])
        .find(|program| program.exists())
        .context("no nats-server on PATH or in target/tools: run `just setup`")
}

/// Fills a stream with so many events, and drains it; how many a second each.
pub(crate) async fn turn(server: &Server, turn: u32, events: u64) -> Result<[Decimal; 2]> {
    let (nats, name) = (Nats::start()?, format!("nats_{turn}"));
    let log = Log::fresh(server, &name).await?;
    log.load(events).await?;
    let streams = nats.streams(&name).await?;
    let published = fill(&log, &streams, events).await?;
    let config = WorkerConfig {
        transport: Transport::JetStream(Box::new(streams)),
        ..WorkerConfig::default()
    };
    let drained = crate::drain::from(server, &log, events, config).await?;
    log.close().await;
    Ok([published, drained])
}

async fn fill(log: &Log, streams: &JetStream, events: u64) -> Result<Decimal> {
    let mut publisher = Publisher::new(log.outbox.clone(), streams.clone(), Lane::Bulk);
    let began = Instant::now();
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
    let rate = per_s(published, began.elapsed().as_micros());
    eprintln!("nats: {rate} events/s published");
    Ok(rate)
}
