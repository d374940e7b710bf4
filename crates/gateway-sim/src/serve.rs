//! Serving: connections in, and an end that lets the answers in hand go out.

use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::clock;

/// A connection that asks nothing for so long is closed. Longer than clients keep them open, so
/// that none is closed under a request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// When no connection can be accepted, such as without open files left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// All that is in hand has been told to end; what does not is cut off, and stands in the books.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// Answers requests until `stop`, and then those in hand.
pub(crate) async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(IDLE_TIMEOUT);
    let connections = Connections {
        http,
        router: TowerToHyperService::new(router),
        graceful: GracefulShutdown::new(),
    };
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, _)) => connections.answer(stream),
            Err(error) => {
                warn!("Cannot accept connections: {error}");
                clock::pause(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let ended = connections.graceful.shutdown();
    if timeout(DRAIN_TIMEOUT, ended).await.is_err() {
        debug!("Some requests did not end within {DRAIN_TIMEOUT:?}; they are cut off");
    }
}

struct Connections {
    http: http1::Builder,
    router: TowerToHyperService<Router>,
    graceful: GracefulShutdown,
}

impl Connections {
    fn answer(&self, stream: TcpStream) {
        if let Err(error) = stream.set_nodelay(true) {
            debug!("A connection without TCP_NODELAY: {error}");
        }
        let connection = self
            .http
            .serve_connection(TokioIo::new(stream), self.router.clone());
        let connection = self.graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                debug!("A connection ended early: {error}");
            }
        });
    }
}
