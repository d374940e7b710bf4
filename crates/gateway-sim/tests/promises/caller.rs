//! A client of the gateway, as impatient as a test wants it.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Method, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::time::timeout;

/// Longer than anything a test waits for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Clone)]
pub(crate) struct Caller {
    url: String,
    client: Client<HttpConnector, Body>,
    patience: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn error(&self) -> String {
        self.json()["error"]["code"]
            .as_str()
            .unwrap_or("none")
            .to_owned()
    }
}

impl Caller {
    pub(crate) fn of(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            client: Client::builder(TokioExecutor::new()).build_http(),
            patience: PATIENCE,
        }
    }

    pub(crate) fn who_leaves_after(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The answer; nothing, if the caller left before or there was no connection.
    pub(crate) async fn try_send(&self, request: Request<Body>) -> Option<Answer> {
        let exchange = async {
            let answer = self.client.request(request).await.ok()?;
            let status = answer.status();
            let body = axum::body::to_bytes(Body::new(answer.into_body()), usize::MAX).await;
            Some(Answer {
                status,
                body: body.ok()?,
            })
        };
        timeout(self.patience, exchange).await.ok().flatten()
    }

    pub(crate) fn posting(&self, path: &str, key: Option<&str>, body: String) -> Request<Body> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}{path}", self.url))
            .header("content-type", "application/json");
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        request.body(Body::from(body)).unwrap()
    }

    pub(crate) async fn post(&self, path: &str, key: &str, body: &Value) -> Answer {
        let request = self.posting(path, Some(key), body.to_string());
        self.try_send(request).await.unwrap()
    }

    pub(crate) async fn try_get(&self, path: &str) -> Option<Answer> {
        let request = Request::get(format!("{}{path}", self.url));
        self.try_send(request.body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let answer = self.try_get(path).await.unwrap();
        assert_eq!(answer.status, StatusCode::OK, "{:?}", answer.body);
        answer.json()
    }

    /// Charges USD 12.01; the key is also our reference.
    pub(crate) async fn try_charge(&self, key: &str, token: &str) -> Option<Answer> {
        let body = order(key, token).to_string();
        self.try_send(self.posting("/v1/charges", Some(key), body))
            .await
    }

    pub(crate) async fn charge(&self, key: &str, token: &str) -> Answer {
        self.try_charge(key, token).await.unwrap()
    }

    /// Charges what is approved, and tells the charge's id.
    pub(crate) async fn captured(&self, key: &str) -> String {
        let answer = self.charge(key, "tok_approve").await;
        assert_eq!(answer.status, StatusCode::CREATED);
        answer.json()["charge_id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn cancel(&self, key: &str) -> Answer {
        let body = json!({ "idempotency_key": key }).to_string();
        let request = self.posting("/v1/charges/cancel", None, body);
        self.try_send(request).await.unwrap()
    }

    pub(crate) async fn refund(&self, key: &str, charge_id: &str, amount_minor: i64) -> Answer {
        let body = json!({
            "charge_id": charge_id,
            "amount_minor": amount_minor,
            "reference": key,
        });
        self.post("/v1/refunds", key, &body).await
    }

    pub(crate) async fn charges_of(&self, reference: &str) -> Vec<Value> {
        let found = self
            .get(&format!("/v1/charges?reference={reference}"))
            .await;
        found["charges"].as_array().unwrap().clone()
    }
}

pub(crate) fn order(reference: &str, token: &str) -> Value {
    json!({
        "reference": reference,
        "token": token,
        "amount_minor": 1201,
        "currency": "USD",
        "description": "January 2031",
    })
}
