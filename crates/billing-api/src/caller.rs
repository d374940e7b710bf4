//! The caller: who asks, and under which id the request is known in logs and history.

use axum::Extension;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use billing_workers::traces;
use outbox::Origin;
use tracing::{Instrument as _, debug, info_span};
use uuid::Uuid;

use crate::problem::Problem;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const ACTOR: HeaderName = HeaderName::from_static("x-actor");
/// Who acts when nobody says so.
const NOBODY_NAMED: &str = "api";
/// A name or the address of a person, not a story.
const ACTOR_CHARS_MAX: usize = 200;

/// Who asks.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    actor: String,
    request_id: Uuid,
}

impl Caller {
    /// What the events of this request will say of it.
    pub(crate) fn origin(self) -> Origin {
        let actor = self.actor.clone();
        self.origin_of(actor)
    }

    /// The same for one who is known by a proof, whatever the header says.
    pub(crate) fn origin_of(self, actor: String) -> Origin {
        Origin {
            request_id: Some(self.request_id),
            ..Origin::of(actor)
        }
    }
}

/// For handlers that write.
pub(crate) type WhoAsks = Extension<Caller>;

/// Takes the request's id or makes one, and says it in the answer and in the log.
pub(crate) async fn identify(mut request: Request, next: Next) -> Response {
    let (request_id, refused) = match request_id(request.headers()) {
        Ok(id) => (id, None),
        Err(problem) => (outbox::ids::new(), Some(problem)),
    };
    let span = info_span!("request", id = %request_id);
    traces::follow(&span, request.headers());
    let answer = async {
        if let Some(problem) = refused {
            return problem.into_response();
        }
        let actor = match actor(request.headers()) {
            Ok(actor) => actor,
            Err(problem) => return problem.into_response(),
        };
        let method = request.method().clone();
        request
            .extensions_mut()
            .insert(Caller { actor, request_id });
        let response = next.run(request).await;
        debug!(status = response.status().as_u16(), "{method} answered");
        response
    };
    let mut response = answer.instrument(span).await;
    let written = HeaderValue::try_from(request_id.to_string());
    let written = written.expect("a UUID is made of letters, digits and dashes");
    response.headers_mut().insert(REQUEST_ID, written);
    response
}

/// An id that could not be kept is refused: another in its place would be looked for in vain.
fn request_id(headers: &HeaderMap) -> Result<Uuid, Problem> {
    let Some(value) = headers.get(REQUEST_ID) else {
        return Ok(outbox::ids::new());
    };
    Uuid::try_parse_ascii(value.as_bytes())
        .map_err(|_| Problem::invalid("X-Request-Id", "The request's id must be a UUID."))
}

fn actor(headers: &HeaderMap) -> Result<String, Problem> {
    let Some(value) = headers.get(ACTOR) else {
        return Ok(NOBODY_NAMED.to_owned());
    };
    let name = std::str::from_utf8(value.as_bytes()).unwrap_or_default();
    let fits = !name.trim().is_empty()
        && !name.chars().any(char::is_control)
        && name.chars().nth(ACTOR_CHARS_MAX).is_none();
    fits.then(|| name.to_owned()).ok_or_else(|| {
        let detail = format!("The actor must be a name of at most {ACTOR_CHARS_MAX} characters.");
        Problem::invalid("X-Actor", detail)
    })
}
