//! A small HTTP client: webhooks go out with it, and a neighbour's health is asked.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout;

/// Answers that are read at all are shorter.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a request came to nothing, as far as this side knows.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("no connection, or it broke: {0}")]
    Connection(#[from] hyper_util::client::legacy::Error),
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("the answer did not come to its end: {0}")]
    Answer(axum::Error),
}

/// Keeps connections open and gives up in time.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pool: Pool<HttpConnector, Body>,
    patience: Duration,
}

impl Client {
    pub(crate) fn new(patience: Duration) -> Self {
        let pool = Pool::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build_http();
        Self { pool, patience }
    }

    pub(crate) async fn get(&self, url: &Uri) -> Result<(StatusCode, Vec<u8>), ClientError> {
        self.send(Method::GET, url, &[], Vec::new()).await
    }

    /// `headers` are written in lower case.
    pub(crate) async fn post(
        &self,
        url: &Uri,
        headers: &[(&'static str, &str)],
        body: Vec<u8>,
    ) -> Result<StatusCode, ClientError> {
        let (status, _) = self.send(Method::POST, url, headers, body).await?;
        Ok(status)
    }

    async fn send(
        &self,
        method: Method,
        url: &Uri,
        headers: &[(&'static str, &str)],
        body: Vec<u8>,
    ) -> Result<(StatusCode, Vec<u8>), ClientError> {
        let mut request = Request::new(Body::from(body));
        *request.method_mut() = method;
        *request.uri_mut() = url.clone();
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).expect("our own headers are plain text");
            request
                .headers_mut()
                .insert(HeaderName::from_static(name), value);
        }
        let exchange = async {
            let answer = self.pool.request(request).await?;
            let status = answer.status();
            let body = axum::body::to_bytes(Body::new(answer.into_body()), ANSWER_BYTES_MAX).await;
            Ok((status, body.map_err(ClientError::Answer)?.to_vec()))
        };
        let ended = timeout(self.patience, exchange).await;
        ended.unwrap_or(Err(ClientError::Timeout(self.patience)))
    }
}
