//! The body of a request: JSON that says exactly what is asked for.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::error::Category;

use crate::problem::Problem;

/// No single thing that is told here is larger.
pub(crate) const BODY_BYTES_MAX: usize = 256 * 1024;

/// A body, read. What does not fit is refused with the field named.
#[derive(Debug)]
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        refuse_other_types(request.headers())?;
        let bytes = Bytes::from_request(request, state).await;
        let bytes = bytes.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                let detail = format!("The body has more than {BODY_BYTES_MAX} bytes.");
                Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
            }
            _ => Problem::new(StatusCode::BAD_REQUEST, "The body did not come to its end."),
        })?;
        parse(&bytes).map(Self)
    }
}

/// Another type would let a web page send a body without asking first.
fn refuse_other_types(headers: &HeaderMap) -> Result<(), Problem> {
    let value = headers.get(header::CONTENT_TYPE);
    let written = value.and_then(|value| value.to_str().ok());
    let essence = written.and_then(|written| written.split(';').next());
    let is_json = essence.is_some_and(|e| e.trim().eq_ignore_ascii_case("application/json"));
    is_json.then_some(()).ok_or_else(|| {
        let detail = "Send JSON, with the header Content-Type: application/json.";
        Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
    })
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let wanted = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        refused(bytes, &path, &error.into_inner())
    })?;
    json.end().map_err(|error| refused(bytes, ".", &error))?;
    Ok(wanted)
}

fn refused(bytes: &[u8], path: &str, error: &serde_json::Error) -> Problem {
    let is_json = || serde_json::from_slice::<IgnoredAny>(bytes).is_ok();
    match error.classify() {
        Category::Data if path == "." => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string())
        }
        Category::Data => Problem::invalid(path, error),
        // The grammar of JSON admits half a surrogate pair, and any bytes in a text.
        Category::Syntax if is_json() => Problem::invalid(path, "is no Unicode text"),
        Category::Syntax | Category::Eof | Category::Io => {
            let detail = format!("The body is no JSON: {error}");
            Problem::new(StatusCode::BAD_REQUEST, detail)
        }
    }
}
