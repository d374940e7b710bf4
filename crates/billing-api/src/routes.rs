//! Routes: which path is answered by whom, and what holds for all of them.

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{delete, get, post};
use tokio_util::task::TaskTracker;

use crate::admission::{Admission, admit};
use crate::body::{BODY_BYTES_MAX, receive};
use crate::caller::identify;
use crate::problem::Problem;
use crate::state::AppState;
use crate::{
    accounts, credits, health, history, invoices, notices, payment_methods, payments, refunds,
    reports, webhooks,
};

/// A few times the connections to the database: enough to keep them busy, few enough that those who
/// wait for one are served within the time.
const REQUESTS_MAX: usize = 64;
/// Health has places of its own, so that it is told while the others are taken.
const HEALTH_REQUESTS_MAX: usize = 4;

/// Gateways bring a whole night's results at once, and come again when they are turned away.
const WEBHOOK_REQUESTS_MAX: usize = 16;

/// All routes; `running` counts the requests in hand.
pub(crate) fn routes(state: AppState, running: &TaskTracker) -> Router {
    let admitted = |places| {
        let admission = Admission::new(places, running.clone());
        middleware::from_fn_with_state(admission, admit)
    };
    let health = Router::new()
        .route("/healthz", get(health::check))
        .route_layer(admitted(HEALTH_REQUESTS_MAX))
        .route_layer(middleware::from_fn(receive));
    let gateways = Router::new()
        .route("/gateways/{name}/webhooks", post(webhooks::receive))
        .route_layer(admitted(WEBHOOK_REQUESTS_MAX))
        .route_layer(middleware::from_fn(receive));
    let v1 = of_accounts()
        .route("/invoices", get(invoices::list))
        .route("/invoices/{id}", get(invoices::show))
        .route("/invoices/{id}/document", get(invoices::page))
        .route("/payments/{id}/refunds", post(refunds::request))
        .route("/reports/{month}", get(reports::of_month))
        .route_layer(admitted(REQUESTS_MAX))
        .route_layer(middleware::from_fn(receive));
    Router::new()
        .merge(health)
        .nest("/v1", v1.merge(gateways))
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn(identify))
        .layer(middleware::from_fn(keep_private))
        .with_state(state)
}

fn of_accounts() -> Router<AppState> {
    let methods = get(payment_methods::list).post(payment_methods::add);
    Router::new()
        .route("/accounts", get(accounts::list).post(accounts::create))
        .route(
            "/accounts/{id}",
            get(accounts::show).patch(accounts::change),
        )
        .route("/accounts/{id}/payment-methods", methods)
        .route(
            "/accounts/{id}/payment-methods/{method}",
            delete(payment_methods::remove),
        )
        .route(
            "/accounts/{id}/credits",
            get(credits::list).post(credits::grant),
        )
        .route(
            "/accounts/{id}/payments",
            get(payments::list).post(payments::record),
        )
        .route("/accounts/{id}/notices", get(notices::of_account))
        .route("/accounts/{id}/history", get(history::of_account))
}

async fn no_route(uri: Uri) -> Problem {
    Problem::not_found(format!("There is nothing under {:?}.", uri.path()))
}

async fn no_method(method: Method) -> Problem {
    let detail = format!("{method} is not possible here; the header Allow says what is.");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}

/// Answers are of one customer or another: no cache keeps them, and no browser guesses their type.
async fn keep_private(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let nosniff = HeaderValue::from_static("nosniff");
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}
