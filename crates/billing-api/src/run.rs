//! Running: from the first listening socket to the last answer.

use std::fs::File;
use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context as _, Result};
use billing_workers::gateways::{self, GatewayConfig, SIM, Secret};
use billing_workers::site::Site;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::args::Args;

pub(crate) async fn until_stopped(args: Args) -> Result<()> {
    // The cheapest thing that can fail comes first: an address in use shows before a server starts.
    let listener = TcpListener::bind(args.listen).await.with_context(|| {
        format!(
            "cannot listen on {}: is it in use? Choose another with --listen",
            args.listen
        )
    })?;
    let site = Site::open(args.site()).await?;
    let outcome = serve(listener, &site).await;
    let closed = site.close().await;
    outcome?;
    Ok(closed?)
}

async fn serve(listener: TcpListener, site: &Site) -> Result<()> {
    let shutdown = CancellationToken::new();
    let signals = tokio::spawn(stop_on_signal(Signals::listen()?, shutdown.clone()));
    let address = listener.local_addr().context("cannot tell the address")?;
    let gateways = GatewayConfig::from_variables(site.data_dir())?;
    let gateways = gateways::open(&announcing(gateways, address)?).await?;
    info!("HTTP API at http://{address}, on the {}", site.database());
    if !address.ip().is_loopback() {
        warn!("Whoever reaches {address} may read and write: there are no API keys yet");
    }
    let (outbox, known) = (site.outbox().clone(), gateways.gateways().clone());
    billing_api::serve(listener, outbox, known, shutdown).await;
    gateways.close().await;
    signals.abort();
    info!("Stopped");
    Ok(())
}

/// Nothing is configured: whenever this program keeps the simulator's books, it tells itself what
/// happens there, under a secret that nobody else needs to know.
fn announcing(mut config: GatewayConfig, address: SocketAddr) -> Result<GatewayConfig> {
    if config.url.is_some() || config.webhook_url.is_some() {
        return Ok(config);
    }
    if config.secret.is_none() {
        config.secret = Secret::new(random_text().context("cannot read random numbers")?);
    }
    let host = match address.ip() {
        ip if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        ip => ip,
    };
    let reached = SocketAddr::new(host, address.port());
    config.webhook_url = Some(format!("http://{reached}/v1/gateways/{SIM}/webhooks"));
    Ok(config)
}

fn random_text() -> std::io::Result<String> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// The first signal lets the requests in hand end; whoever sends a second one does not want to
/// wait.
async fn stop_on_signal(mut signals: Signals, shutdown: CancellationToken) {
    signals.next().await;
    info!("Stopping after the requests in hand; the same signal again stops at once");
    shutdown.cancel();
    signals.next().await;
    info!("Stopped at once; what was not committed is rolled back");
    std::process::exit(1);
}
