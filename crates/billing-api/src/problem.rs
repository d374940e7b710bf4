//! A problem: why a request was not answered as wished, in the words of RFC 9457.
//!
//! It tells the caller what to do and nothing of our inside: no SQL, path or stack. What broke in
//! here goes to the log, once, with the request's id.

use std::borrow::Cow;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use outbox::CommitError;
use serde::Serialize;

/// What a caller sent comes back in a detail up to this length; a body may be 256 KiB.
const DETAIL_CHARS_MAX: usize = 500;
/// Connections come back within a second, or not soon.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// The only proof that is asked for here is a gateway's; RFC 9110 wants it named.
const SIGNATURE: HeaderValue = HeaderValue::from_static("Gateway-Signature");

/// A sum that does not fit into a table's column: the amount in hand was one too many.
const OUT_OF_RANGE: &str = "22003";
/// Postgres gave up a transaction that may well succeed the next time: serialization failure,
/// deadlock, lock not available, statement cancelled, and a server that shuts down or starts.
const TRANSIENT: &[&str] = &[
    "40001", "40P01", "55P03", "57014", "57P01", "57P02", "57P03", "53300",
];

/// Why a request was not answered as wished.
#[derive(Debug, Serialize)]
pub(crate) struct Problem {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    detail: String,
    /// Which field of the body, parameter or header is to be mended.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let detail: String = detail.into();
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Problem"),
            status: status.as_u16(),
            detail: detail.chars().take(DETAIL_CHARS_MAX).collect(),
            field: None,
        }
    }

    /// A value that cannot be taken; where it stands.
    pub(crate) fn invalid(field: &str, detail: impl ToString) -> Self {
        let problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail.to_string());
        Self {
            field: Some(field.chars().take(DETAIL_CHARS_MAX).collect()),
            ..problem
        }
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    pub(crate) fn busy(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// Something broke in here: it is logged, and the caller learns only that.
    pub(crate) fn broken(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        tracing::error!("A request failed: {:#}", anyhow::Error::from(error));
        let detail = "Something broke in the server; its log tells more under the request's id.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    }

    pub(crate) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        let mut response = (status, axum::Json(self)).into_response();
        let headers = response.headers_mut();
        let json = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, json);
        match status {
            StatusCode::SERVICE_UNAVAILABLE => headers.insert(header::RETRY_AFTER, RETRY_AFTER),
            StatusCode::UNAUTHORIZED => headers.insert(header::WWW_AUTHENTICATE, SIGNATURE),
            _ => None,
        };
        response
    }
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        if code_of(&error).as_deref() == Some(OUT_OF_RANGE) {
            let detail = "With this amount a sum would not fit into 63 bits of minor units.";
            return Self::invalid("amount", detail);
        }
        if !is_transient(&error) {
            return Self::broken(error);
        }
        tracing::warn!("The database did not answer: {error:#}");
        Self::busy("The database did not answer; nothing was changed. Try again in a moment.")
    }
}

impl From<CommitError> for Problem {
    fn from(error: CommitError) -> Self {
        match error.0 {
            // The server said no, so it did nothing.
            sqlx::Error::Database(_) => error.0.into(),
            _ => {
                tracing::error!("The outcome of a commit is not known: {:#}", error.0);
                Self::busy(
                    "The database was lost while it wrote; the outcome is not known. Look whether \
                     the change is there before you try again.",
                )
            }
        }
    }
}

fn code_of(error: &sqlx::Error) -> Option<Cow<'_, str>> {
    error.as_database_error()?.code()
}

fn is_transient(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(_) => {
            code_of(error).is_some_and(|code| TRANSIENT.contains(&code.as_ref()))
        }
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => true,
        _ => false,
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        let error: Option<&dyn std::error::Error> = std::error::Error::source(&rejection);
        let detail = error.map_or_else(|| rejection.body_text(), ToString::to_string);
        match detail.split_once(": ") {
            Some((field, detail)) => Self::invalid(field, detail),
            None => Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail),
        }
    }
}

impl From<PathRejection> for Problem {
    fn from(_: PathRejection) -> Self {
        Self::not_found("There is nothing under this path: it is no UTF-8.")
    }
}
