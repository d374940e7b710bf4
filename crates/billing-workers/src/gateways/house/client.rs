//! The client: one request, one answer, and what it means that there is none.
//!
//! Only a connection that never came to be proves that nothing was sent. Whatever ends after that
//! (a timeout, a reset, a connection that the other side had closed while it lay idle) may have
//! happened after the last byte arrived, and is not known.
//!
//! The library sends a request a second time in one case alone: on an idle connection that turned
//! out to be closed before the first byte was written. Were it wrong about that, the idempotency
//! key would still make one charge of both. Where keys mean nothing it is told not to.

mod in_time;

use std::time::Duration;

use billing::gateway::CallError;
use gateway_sim::Address;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::http::uri::Scheme;
use hyper::{HeaderMap, Method, Request, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde_json::Value;

use crate::site::told;
use in_time::InTime;

/// Below what servers and the boxes between allow, so that few are closed under a request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);
/// Above a full page of the statement.
const ANSWER_BYTES_MAX: usize = 2 * 1024 * 1024;
/// A number that was mistyped over there must not stop payments for a day.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Why an address is none of a gateway.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{url:?} is not the address of a gateway: give one like https://gateway.example")]
pub struct UrlError {
    /// The address.
    pub url: String,
}

/// Where requests go.
#[derive(Debug)]
pub(super) enum Base {
    /// Without a slash at the end.
    Fixed(String),
    /// It moves when another program goes on with it.
    Simulator(Address),
}

impl Base {
    pub(super) fn fixed(url: &str) -> Result<Self, UrlError> {
        let wrong = || UrlError {
            url: url.to_owned(),
        };
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let scheme = uri.scheme().ok_or_else(wrong)?;
        let is_web = *scheme == Scheme::HTTPS || *scheme == Scheme::HTTP;
        let named = uri
            .authority()
            .is_some_and(|host| !host.as_str().contains('@'));
        if !is_web || !named || uri.query().is_some() {
            return Err(wrong());
        }
        if *scheme == Scheme::HTTP && !is_this_machine(uri.host().unwrap_or_default()) {
            tracing::warn!("The gateway at {url} is reached in the clear; https hides its tokens");
        }
        Ok(Self::Fixed(url.trim_end_matches('/').to_owned()))
    }

    fn now(&self) -> String {
        match self {
            Self::Fixed(url) => url.clone(),
            Self::Simulator(address) => address.url(),
        }
    }
}

fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host == "[::1]" || host.starts_with("127.")
}

/// A request, before its address is known.
#[derive(Debug)]
pub(super) struct Sent {
    method: Method,
    path: String,
    key: Option<HeaderValue>,
    body: Bytes,
}

impl Sent {
    pub(super) fn get(path: String) -> Self {
        Self {
            method: Method::GET,
            path,
            key: None,
            body: Bytes::new(),
        }
    }

    pub(super) fn post(path: &str, body: &Value) -> Self {
        Self {
            method: Method::POST,
            path: path.to_owned(),
            key: None,
            body: body.to_string().into(),
        }
    }

    pub(super) fn with_key(mut self, key: &str) -> Self {
        let key = HeaderValue::from_str(key).expect("an id is printable");
        self.key = Some(key);
        self
    }

    fn to(self, base: &str) -> Result<Request<Full<Bytes>>, CallError> {
        let uri: Uri = format!("{base}{}", self.path)
            .parse()
            .map_err(|error| CallError::NotSent(format!("{base} is no address: {error}")))?;
        let mut request = Request::new(Full::new(self.body));
        *request.method_mut() = self.method;
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        let json = HeaderValue::from_static("application/json");
        headers.insert(ACCEPT, json.clone());
        headers.insert(CONTENT_TYPE, json);
        if let Some(key) = self.key {
            headers.insert(IDEMPOTENCY_KEY, key);
        }
        Ok(request)
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// When the gateway wants to be asked again.
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Bytes,
}

/// Keeps connections open, and gives up in time.
#[derive(Debug)]
pub(super) struct Client {
    base: Base,
    pool: Pool<InTime<HttpsConnector<HttpConnector>>, Full<Bytes>>,
    timeout: Duration,
    has_keys: bool,
}

impl Client {
    pub(super) fn new(base: Base, timeout: Duration) -> Self {
        Self::open(base, timeout, true)
    }

    fn open(base: Base, timeout: Duration, has_keys: bool) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_webpki_roots()
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let connector = InTime {
            connector,
            timeout: timeout / 2,
        };
        let pool = Pool::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .retry_canceled_requests(has_keys)
            .build(connector);
        Self {
            base,
            pool,
            timeout,
            has_keys,
        }
    }

    pub(super) fn with_timeout(self, timeout: Duration) -> Self {
        Self::open(self.base, timeout, self.has_keys)
    }

    pub(super) fn with_keys(self, has_keys: bool) -> Self {
        Self::open(self.base, self.timeout, has_keys)
    }

    pub(super) async fn send(&self, sent: Sent) -> Result<Answer, CallError> {
        let request = sent.to(&self.base.now())?;
        let exchange = async {
            let response = self.pool.request(request).await.map_err(unsent_or_lost)?;
            let (status, retry_after) = (response.status(), retry_after(response.headers()));
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
            let body = body.collect().await.map_err(|error| {
                let text = told(error.as_ref());
                CallError::Unknown(format!("the answer did not come to its end: {text}"))
            })?;
            Ok(Answer {
                status,
                retry_after,
                body: body.to_bytes(),
            })
        };
        let ended = tokio::time::timeout(self.timeout, exchange).await;
        let late = || CallError::Unknown(format!("no answer within {:?}", self.timeout));
        ended.unwrap_or_else(|_| Err(late()))
    }
}

fn unsent_or_lost(error: hyper_util::client::legacy::Error) -> CallError {
    let text = told(&error);
    if error.is_connect() {
        CallError::NotSent(text)
    } else {
        CallError::Unknown(text)
    }
}

/// Only the form in seconds: the other would trust a clock over there.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = Duration::from_secs(seconds.parse().ok()?);
    Some(wait.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_of_the_web_and_names_a_host() {
        for url in [
            "https://gateway.example",
            "https://gateway.example/eu/",
            "http://127.0.0.1:4000",
        ] {
            let Base::Fixed(base) = Base::fixed(url).unwrap() else {
                panic!("{url} became a simulator");
            };
            assert!(!base.ends_with('/'));
        }
        for url in [
            "",
            "gateway.example",
            "ftp://gateway.example",
            "https://",
            "https://me:secret@gateway.example",
            "https://gateway.example?key=1",
        ] {
            assert!(Base::fixed(url).is_err(), "{url}");
        }
    }

    #[test]
    fn nobody_makes_us_wait_for_a_day() {
        let after = |text| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(text));
            retry_after(&headers)
        };

        assert_eq!(after("2"), Some(Duration::from_secs(2)));
        assert_eq!(after("86400"), Some(RETRY_AFTER_MAX));
        assert_eq!(after("Wed, 21 Oct 2015 07:28:00 GMT"), None);
        assert_eq!(after("-1"), None);
    }
}
