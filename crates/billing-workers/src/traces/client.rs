//! The client of the collector.
//!
//! The exporter works on a thread of its own that is none of the runtime's, so a request is a task
//! of the runtime, for whose end that thread waits.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::{Request, Response};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use opentelemetry_http::{HttpClient, HttpError};
use tokio::runtime::Handle;

use super::EXPORT_TIMEOUT;

/// An answer says which spans were refused, at most.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Client {
    pool: Pool<HttpsConnector<HttpConnector>, Full<Bytes>>,
    runtime: Handle,
    /// Trouble is told once, until it is over.
    is_down: AtomicBool,
}

impl Client {
    pub(super) fn new() -> Self {
        let connector = HttpsConnectorBuilder::new()
            .with_webpki_roots()
            .https_or_http()
            .enable_http1()
            .build();
        let pool = Pool::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .build(connector);
        Self {
            pool,
            runtime: Handle::current(),
            is_down: AtomicBool::new(false),
        }
    }

    fn tell(&self, trouble: Option<String>) {
        let was_down = self.is_down.swap(trouble.is_some(), Ordering::Relaxed);
        match trouble {
            Some(error) if !was_down => {
                tracing::warn!(error, "The collector of traces takes none: {error}");
            }
            None if was_down => tracing::info!("The collector of traces takes them again"),
            _ => {}
        }
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let sending = self.runtime.spawn(send(self.pool.clone(), request));
        let sent = sending.await.unwrap_or_else(|error| Err(error.into()));
        self.tell(match &sent {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("it answers {}", answer.status())),
            Err(error) => Some(crate::site::told(error.as_ref())),
        });
        sent
    }
}

async fn send(
    pool: Pool<HttpsConnector<HttpConnector>, Full<Bytes>>,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, HttpError> {
    let exchange = async {
        let answer = pool.request(request.map(Full::new)).await?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await?;
        Ok(Response::from_parts(head, body.to_bytes()))
    };
    tokio::time::timeout(EXPORT_TIMEOUT, exchange).await?
}
