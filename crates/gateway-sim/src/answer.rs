//! Answers: what a request is told, as the bytes that the books keep and repeat.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

/// What callers are told to wait for when there is no time for them.
const RETRY_AFTER_S: &str = "1";

/// A status and a body of JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn new(status: StatusCode, content: &impl Serialize) -> Self {
        let body = serde_json::to_vec(content).expect("our own types have text for keys");
        Self { status, body }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let json = [(header::CONTENT_TYPE, "application/json")];
        let mut response = (self.status, json, self.body).into_response();
        if matches!(
            self.status,
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
        ) {
            let retry_after = HeaderValue::from_static(RETRY_AFTER_S);
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, retry_after);
        }
        response
    }
}

/// Why a request did nothing: `{"error": {"code": …, "message": …}}`. The books keep no refusal, so
/// the same key may be sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            status,
            code,
            message,
        }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", message)
    }

    /// Whether the request was carried out is for the caller to look up.
    pub(crate) fn internal() -> Self {
        let message = "The gateway failed; look the request up before sending it again.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }

    /// Says nothing about the charge, which was made.
    pub(crate) fn silent() -> Self {
        let message = "No answer in time; look the request up before sending it again.";
        Self::new(StatusCode::GATEWAY_TIMEOUT, "timeout", message)
    }

    pub(crate) fn answer(&self) -> Answer {
        let error = json!({ "error": { "code": self.code, "message": self.message } });
        Answer::new(self.status, &error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        self.answer().into_response()
    }
}
