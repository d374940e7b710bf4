//! What carries the log, as the command line says.

use anyhow::{Context as _, Result};
use async_nats::{ConnectOptions, Event};
use outbox::Lane;
use outbox::Outbox;
use outbox::transport::Transport;
use outbox::transport::jetstream::{JetStream, Publisher};
use tokio_util::sync::CancellationToken;

use crate::args::{Carrier, TransportArgs};

/// Opens the transport. A server that cannot be reached at the start is an error; later it is
/// waited for.
pub(crate) async fn open(args: &TransportArgs) -> Result<Transport> {
    let (Carrier::Nats, Some(url)) = (args.transport, &args.nats_url) else {
        return Ok(Transport::Postgres);
    };
    let mut options = ConnectOptions::new()
        .name("outbox-relay")
        .event_callback(report);
    if let Some(file) = &args.nats_credentials {
        let read = options.credentials_file(file).await;
        options = read.with_context(|| format!("cannot read {}", file.display()))?;
    }
    if let Some(file) = &args.nats_ca {
        options = options
            .add_root_certificates(file.clone())
            .require_tls(true);
    }
    let client = options.connect(url).await.context(
        "cannot reach the NATS server of --nats-url; is it running, and are the credentials right?",
    )?;
    let streams = JetStream::new(client, &args.nats_prefix).replicas(args.nats_replicas);
    Ok(Transport::JetStream(streams))
}

async fn report(event: Event) {
    match event {
        Event::Connected => tracing::info!("Connected to NATS"),
        Event::Disconnected => tracing::warn!("NATS is away; events wait in the database"),
        event => tracing::warn!("NATS: {event}"),
    }
}

/// Fills the streams until `shutdown`; nothing to do for the database.
pub(crate) async fn publish(transport: &Transport, outbox: &Outbox, shutdown: &CancellationToken) {
    let Transport::JetStream(streams) = transport else {
        return;
    };
    let [interactive, bulk] = Lane::ALL
        .map(|lane| Publisher::new(outbox.clone(), streams.clone(), lane).run(shutdown.clone()));
    tokio::join!(interactive, bulk);
}
