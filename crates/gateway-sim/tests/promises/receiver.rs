//! A receiver of webhooks that remembers them, and may refuse or keep the gateway waiting.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::http::{Request, Response, StatusCode};
use chrono::{DateTime, Utc};
use gateway_sim::{SIGNATURE_HEADER, SignatureError, TIMESTAMP_HEADER, verify};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::scene::until;

pub(crate) const SECRET: &str = "whsec_test";

#[derive(Debug, Clone)]
pub(crate) struct Received {
    timestamp: String,
    signature: String,
    body: Bytes,
}

impl Received {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn text(&self, field: &str) -> String {
        self.json()[field].as_str().unwrap().to_owned()
    }

    /// Verified as of `later` seconds after it was sent.
    pub(crate) fn verified(&self, secret: &str, later: i64) -> Result<(), SignatureError> {
        let sent: i64 = self.timestamp.parse().unwrap();
        let now: DateTime<Utc> = DateTime::from_timestamp(sent + later, 0).unwrap();
        verify(secret, &self.timestamp, &self.body, &self.signature, now)
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Receiver {
    pub(crate) url: String,
    received: Arc<Mutex<Vec<Received>>>,
    refusals_left: Arc<Mutex<usize>>,
    open: Arc<watch::Sender<bool>>,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Self {
            url: format!("http://{}/webhooks", listener.local_addr().unwrap()),
            received: Arc::default(),
            refusals_left: Arc::default(),
            open: Arc::new(watch::Sender::new(true)),
        };
        tokio::spawn(receiver.clone().listen(listener));
        receiver
    }

    pub(crate) fn refuse_next(&self, times: usize) {
        *self.refusals_left.lock().unwrap() = times;
    }

    /// Keeps whoever calls waiting for an answer, until it is opened.
    pub(crate) fn close(&self) {
        self.open.send_replace(false);
    }

    pub(crate) fn open(&self) {
        self.open.send_replace(true);
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    pub(crate) async fn wait_for(&self, count: usize) -> Vec<Received> {
        until("as many webhooks", async || {
            Some(self.received()).filter(|received| received.len() >= count)
        })
        .await
    }

    async fn listen(self, listener: TcpListener) {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let receiver = self.clone();
            let answer = service_fn(move |request| receiver.clone().receive(request));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
            // A gateway that is stopped breaks its connections.
            tokio::spawn(async { connection.await.unwrap_or_default() });
        }
    }

    async fn receive(self, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        let (head, body) = request.into_parts();
        let header = |name| head.headers[name].to_str().unwrap().to_owned();
        let received = Received {
            timestamp: header(TIMESTAMP_HEADER),
            signature: header(SIGNATURE_HEADER),
            body: axum::body::to_bytes(Body::new(body), usize::MAX)
                .await
                .unwrap(),
        };
        self.received.lock().unwrap().push(received);
        self.open.subscribe().wait_for(|open| *open).await.unwrap();
        let mut answer = Response::new(Body::empty());
        let mut refusals_left = self.refusals_left.lock().unwrap();
        if *refusals_left > 0 {
            *refusals_left -= 1;
            *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        Ok(answer)
    }
}
