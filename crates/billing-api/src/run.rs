//! Running: from the first listening socket to the last answer.

use anyhow::{Context as _, Result};
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
    info!("HTTP API at http://{address}, on the {}", site.database());
    if !address.ip().is_loopback() {
        warn!("Whoever reaches {address} may read and write: there are no API keys yet");
    }
    billing_api::serve(listener, site.outbox().clone(), shutdown).await;
    signals.abort();
    info!("Stopped");
    Ok(())
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
