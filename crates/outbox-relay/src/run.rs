//! Running: relay and workers side by side, until a signal or the failure of one stops all.

use std::future::Future;
use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use billing_workers::gateways::{self, GatewayConfig};
use billing_workers::site::Site;
use billing_workers::{MailConfig, WorkersConfig};
use outbox::transport::Transport;
use outbox::{Outbox, Relay, Worker, WorkerConfig};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::args::RunArgs;
use crate::{metrics, transport};

pub(crate) async fn until_stopped(site: &Site, args: RunArgs) -> Result<()> {
    let documents_dir = args
        .documents_dir
        .clone()
        .unwrap_or_else(|| site.documents_dir());
    let gateways = match args.role.consumes() {
        true => Some(gateways::open(&GatewayConfig::from_variables(site.data_dir())?).await?),
        false => None,
    };
    let config = WorkersConfig {
        documents_dir,
        reports_dir: site.reports_dir(),
        gateways: gateways
            .as_ref()
            .map(|open| open.gateways().clone())
            .unwrap_or_default(),
        mail: MailConfig::from_variables(site.data_dir())?,
        outbox: site.outbox().clone(),
    };
    let transport = transport::open(&args.transport).await?;
    let worker = if args.role.consumes() {
        plan_checks(site, &args).await?;
        Some(worker(site, &config, &args, transport.clone())?)
    } else {
        None
    };
    let shutdown = CancellationToken::new();
    // It outlives the batches: closing the site takes time, too, which a second signal cuts short.
    tokio::spawn(stop_on_signal(Signals::listen()?, shutdown.clone()));
    info!("{}", start_line(site, &config, &args));
    let (published, consumed, shown) = tokio::join!(
        stopping(
            &shutdown,
            publish(&args, site.outbox(), &transport, shutdown.clone())
        ),
        stopping(&shutdown, consume(worker, shutdown.clone())),
        stopping(&shutdown, show(args.metrics, site, shutdown.clone())),
    );
    if let Some(gateways) = gateways {
        gateways.close().await;
    }
    published?;
    consumed?;
    shown?;
    info!("Stopped");
    Ok(())
}

/// Who runs the checks says when.
async fn plan_checks(site: &Site, args: &RunArgs) -> Result<()> {
    let runs = |names: &Vec<String>| names.iter().any(|name| name == "checks");
    if args.consumers.as_ref().is_none_or(runs) {
        billing_workers::plan_checks(site.outbox(), args.checks()).await?;
    }
    Ok(())
}

fn worker(
    site: &Site,
    config: &WorkersConfig,
    args: &RunArgs,
    transport: Transport,
) -> Result<Worker> {
    let own = WorkerConfig {
        host: args.wake_host,
        transport,
        ..WorkerConfig::default()
    };
    let mut worker = Worker::new(site.outbox().clone(), own);
    billing_workers::add_all(&mut worker, config, args.consumers.as_deref())?;
    Ok(worker)
}

async fn publish(
    args: &RunArgs,
    outbox: &Outbox,
    transport: &Transport,
    shutdown: CancellationToken,
) -> Result<()> {
    if !args.role.publishes() {
        return Ok(());
    }
    let filled = async {
        transport::publish(transport, outbox, &shutdown).await;
        Ok(())
    };
    let relay = Relay::new(outbox.clone()).heard_at(args.wake_host);
    let cut = relay.run(shutdown.clone());
    tokio::try_join!(cut, filled).context("the relay stopped")?;
    Ok(())
}

async fn show(address: Option<SocketAddr>, site: &Site, shutdown: CancellationToken) -> Result<()> {
    match address {
        Some(address) => metrics::serve(address, site.pool().clone(), shutdown).await,
        None => Ok(()),
    }
}

async fn consume(worker: Option<Worker>, shutdown: CancellationToken) -> Result<()> {
    let Some(worker) = worker else { return Ok(()) };
    worker.run(shutdown).await.context("the workers stopped")
}

/// A half that fails stops the other: a process that only seems to run is worse than none.
async fn stopping(
    shutdown: &CancellationToken,
    half: impl Future<Output = Result<()>>,
) -> Result<()> {
    let outcome = half.await;
    if outcome.is_err() {
        shutdown.cancel();
    }
    outcome
}

/// What asks a program to stop.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(crate) fn listen() -> Result<Self> {
        let listen = || -> std::io::Result<Self> {
            let interrupt = signal(SignalKind::interrupt())?;
            Ok(Self {
                interrupt,
                terminate: signal(SignalKind::terminate())?,
            })
        };
        listen().context("cannot listen for signals")
    }

    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// The first signal lets the batches in hand end; whoever sends a second one does not want to wait.
async fn stop_on_signal(mut signals: Signals, shutdown: CancellationToken) {
    signals.next().await;
    info!("Stopping after the batches in hand; the same signal again stops at once");
    shutdown.cancel();
    signals.next().await;
    info!("Stopped at once; what was in hand is done again by the next process");
    std::process::exit(1);
}

fn start_line(site: &Site, config: &WorkersConfig, args: &RunArgs) -> String {
    let database = site.database();
    if !args.role.consumes() {
        return format!("Relay of the {database}");
    }
    let consumers = args.consumers.clone().map_or_else(
        || billing_workers::names().join(", "),
        |names| names.join(", "),
    );
    let role = if args.role.publishes() {
        "Relay and workers"
    } else {
        "Workers"
    };
    let documents = config.documents_dir.display();
    format!("{role} of the {database}; consumers: {consumers}; documents in {documents}")
}
