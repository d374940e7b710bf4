//! What carries the log, as the command line says.

use anyhow::Result;
use outbox::Lane;
use outbox::Outbox;
use outbox::transport::Transport;
use outbox::transport::jetstream::{Access, JetStream, Publisher};
use tokio_util::sync::CancellationToken;

use crate::args::{Carrier, TransportArgs};

/// Opens the transport. A NATS server that cannot be reached at the start is an error; later it is
/// waited for.
pub(crate) async fn open(args: &TransportArgs) -> Result<Transport> {
    let (Carrier::Nats, Some(url)) = (args.transport, &args.nats_url) else {
        return Ok(Transport::Postgres);
    };
    let access = Access {
        url: url.clone(),
        credentials: args.nats_credentials.clone(),
        ca: args.nats_ca.clone(),
    };
    let streams = JetStream::connect(&access, &args.nats_prefix).await?;
    Ok(Transport::JetStream(Box::new(
        streams.replicas(args.nats_replicas),
    )))
}

/// Fills the streams until `shutdown`; nothing to do for the database.
pub(crate) async fn publish(transport: &Transport, outbox: &Outbox, shutdown: &CancellationToken) {
    let Transport::JetStream(streams) = transport else {
        return;
    };
    let [interactive, bulk] = Lane::ALL.map(|lane| {
        Publisher::new(outbox.clone(), (**streams).clone(), lane).run(shutdown.clone())
    });
    tokio::join!(interactive, bulk);
}
