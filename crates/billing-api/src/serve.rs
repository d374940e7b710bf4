//! Serving: connections in, a bound on each of them, and an end that waits for the answers.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use billing::gateway::Gateways;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use outbox::{Outbox, clock};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::routes::routes;
use crate::state::AppState;

/// A connection that sends no whole header within this time is closed, idle ones too.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
const HEADERS_MAX: usize = 64;
/// What a connection may hold in memory before its request is understood.
const HEADER_BYTES_MAX: usize = 16 * 1024;
/// Below the usual limit of open files; who comes later waits until one is closed.
const CONNECTIONS_MAX: usize = 800;
/// When no connection can be accepted, such as without open files left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Longer than any answer takes, shorter than the patience of those who stop processes.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(25);

/// Answers requests until `shutdown`, and then those in hand. What was begun is ended, up to a
/// bound.
/// Webhooks are believed as `gateways` say.
pub async fn serve(
    listener: TcpListener,
    outbox: Outbox,
    gateways: Gateways,
    shutdown: CancellationToken,
) {
    let running = TaskTracker::new();
    let state = AppState { outbox, gateways };
    let connections = Connections::new(routes(state, &running));
    let open = connections.open.clone();
    loop {
        let next = async {
            let place = Arc::clone(&open).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            next = next => next,
            () = shutdown.cancelled() => break,
        };
        match accepted {
            Ok((stream, _)) => {
                connections.answer(stream, place.expect("these places are never closed"));
            }
            Err(error) => {
                warn!("Cannot accept connections: {error}");
                clock::pause(ACCEPT_PAUSE).await;
            }
        }
    }
    // Whoever connects from here on is refused at once, and may ask another process.
    drop(listener);
    running.close();
    let ended = async {
        connections.graceful.shutdown().await;
        running.wait().await;
    };
    if timeout(DRAIN_TIMEOUT, ended).await.is_err() {
        warn!("Some requests did not end within {DRAIN_TIMEOUT:?}; they are given up");
    }
}

struct Connections {
    http: http1::Builder,
    router: TowerToHyperService<Router>,
    graceful: GracefulShutdown,
    open: Arc<Semaphore>,
}

impl Connections {
    fn new(router: Router) -> Self {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_headers(HEADERS_MAX)
            .max_buf_size(HEADER_BYTES_MAX);
        Self {
            http,
            router: TowerToHyperService::new(router),
            graceful: GracefulShutdown::new(),
            open: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
        }
    }

    fn answer(&self, stream: TcpStream, place: OwnedSemaphorePermit) {
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
            drop(place);
        });
    }
}
