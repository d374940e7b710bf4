//! The body of a request: JSON that says exactly what is asked for.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::error::Category;
use tokio::time::timeout;

use crate::problem::Problem;

/// No single thing that is told here is larger.
pub(crate) const BODY_BYTES_MAX: usize = 256 * 1024;

/// The largest body at the pace of a bad telephone line.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// A body, read. What does not fit is refused with the field named.
#[derive(Debug)]
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        refuse_other_types(request.headers())?;
        let bytes = whole(request).await?;
        parse(&bytes).map(Self)
    }
}

/// A body that is never repeated, whatever is wrong with it.
pub(crate) struct SecretBody<T>(pub(crate) T);

/// What is told instead of what came.
pub(crate) trait Expected {
    /// A sentence.
    const EXPECTED: &'static str;
}

impl<T: DeserializeOwned + Expected, S: Send + Sync> FromRequest<S> for SecretBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        refuse_other_types(request.headers())?;
        let bytes = whole(request).await?;
        let read = parse(&bytes).map(Self);
        read.map_err(|problem| Problem::new(problem.status(), T::EXPECTED))
    }
}

/// Takes in the whole body before the request is given a place: clients that send slowly hold up
/// nobody but themselves.
pub(crate) async fn receive(request: Request, next: Next) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let unread = Request::from_parts(parts.clone(), body);
    let bytes = timeout(BODY_TIMEOUT, whole(unread)).await.map_err(|_| {
        let detail = format!("The body did not arrive within {BODY_TIMEOUT:?}.");
        Problem::new(StatusCode::REQUEST_TIMEOUT, detail)
    })??;
    Ok(next
        .run(Request::from_parts(parts, Body::from(bytes)))
        .await)
}

async fn whole(request: Request) -> Result<Bytes, Problem> {
    let bytes = Bytes::from_request(request, &()).await;
    bytes.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let detail = format!("The body has more than {BODY_BYTES_MAX} bytes.");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
        }
        _ => Problem::new(StatusCode::BAD_REQUEST, "The body did not come to its end."),
    })
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
    // What is read by name could be read by place too, as a list; nobody should rely on that.
    if bytes.trim_ascii_start().starts_with(b"[") {
        let detail = "The body must be an object.";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
    }
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
        Category::Data => match named(error) {
            Some(field) => Problem::invalid(&field, error),
            None if path == "." => {
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string())
            }
            None => Problem::invalid(path, error),
        },
        // The grammar of JSON admits half a surrogate pair, and numbers of any size.
        Category::Syntax if is_json() => Problem::invalid(path, error),
        Category::Syntax | Category::Eof | Category::Io => {
            let detail = format!("The body is no JSON: {error}");
            Problem::new(StatusCode::BAD_REQUEST, detail)
        }
    }
}

/// A field that is not there, or there twice, has no path; serde names it in its sentence.
fn named(error: &serde_json::Error) -> Option<String> {
    let sentence = error.to_string();
    let (problem, named) = sentence.split_once(" field `")?;
    let field = named.split('`').next()?;
    matches!(problem, "missing" | "duplicate").then(|| field.to_owned())
}
