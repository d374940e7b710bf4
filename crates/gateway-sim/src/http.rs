//! The interface over HTTP: JSON in and out, amounts in minor units.
//!
//! | request | answer |
//! |---|---|
//! | `POST /v1/charges`, `Idempotency-Key` | 201 the charge; 402 an unknown card |
//! | `GET /v1/charges?reference=…` | the charges with the caller's own reference |
//! | `GET /v1/charges/{id}` | the charge as it is now |
//! | `POST /v1/charges/cancel` | the key is burnt, or the charge that it made |
//! | `POST /v1/refunds`, `Idempotency-Key` | 201 the refund, never above what was captured |
//! | `GET /v1/refunds?reference=…` | the refunds with the caller's own reference |
//! | `GET /v1/statement?from&to&after&limit` | all movements of money, with totals |
//! | `GET /healthz` | 200 and whose books these are |
//!
//! The same key with the same body is given the first answer again, byte for byte; with another
//! body, 409 `key_reused`. Two at once need no rule of their own: the books write one after the
//! other, so that the second is given the answer of the first. Other profiles differ.
//!
//! A gateway that is busy answers 503 `busy` with `Retry-After`, and has done nothing; after any
//! other answer from 500 upwards the request may have been carried out.

mod progress;
mod read;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use tokio_util::sync::CancellationToken;

use crate::answer::Refusal;
use crate::behaviour::Behaviour;
use crate::books::{Books, Order, Written};
use crate::clock::{self, Moment};
use crate::postman::Postman;
use crate::profile::Profile;
use crate::request::{self, CancelRequest, ChargeRequest, Keyed, RefundRequest};
pub(crate) use progress::Progress;
use progress::Underway;

/// Far above any request that the checks let through.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// What all requests share.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) books: Books,
    pub(crate) postman: Option<Arc<Postman>>,
    /// Added to every request under `/v1`, as if the gateway were far away.
    pub(crate) latency: Duration,
    pub(crate) profile: Profile,
    pub(crate) progress: Progress,
    /// Tells these books from those of a stranger at an address that was ours once.
    pub(crate) books_id: String,
    pub(crate) stop: CancellationToken,
}

type Shared = State<Arc<Gateway>>;
type Body = Result<Bytes, BytesRejection>;

/// The routes of a gateway.
pub(crate) fn routes(gateway: Arc<Gateway>) -> Router {
    let delayed = middleware::from_fn_with_state(Arc::clone(&gateway), delay);
    Router::new()
        .route("/v1/charges", post(charge).get(read::charges))
        .route("/v1/charges/cancel", post(cancel))
        .route("/v1/charges/{id}", get(read::charge))
        .route("/v1/refunds", post(refund).get(read::refunds))
        .route("/v1/statement", get(read::statement))
        .layer(delayed)
        .route("/healthz", get(read::health))
        .fallback(nowhere)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(gateway)
}

async fn delay(State(gateway): Shared, request: Request, next: Next) -> Response {
    if !gateway.latency.is_zero() {
        clock::pause(gateway.latency).await;
    }
    next.run(request).await
}

async fn nowhere() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "not_found", "There is nothing here.")
}

async fn charge(
    State(gateway): Shared,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let bodies = gateway.profile.bodies;
    let order = Keyed::<ChargeRequest>::read(&headers, &whole(body)?, bodies)?;
    let behaviour = Behaviour::of(&order.request.token);
    let underway = gateway.enter(&order.key)?;
    if let Behaviour::Late(wait) = behaviour {
        return late(gateway, (order, underway), wait).await;
    }
    let written = gateway.write(Order::Charge(order)).await?;
    if written.fresh {
        gateway.linger(behaviour, &written).await?;
    }
    Ok(written.answer.into_response())
}

/// A request that is held on its way lands even if its sender has given up.
async fn late(
    gateway: Arc<Gateway>,
    (order, underway): (Keyed<ChargeRequest>, Option<Underway>),
    wait: Duration,
) -> Result<Response, Refusal> {
    let landing = tokio::spawn(async move {
        let _underway = underway;
        clock::pause(wait).await;
        gateway.write(Order::Charge(order)).await
    });
    let written = landing.await.map_err(|_| Refusal::internal())??;
    Ok(written.answer.into_response())
}

async fn refund(
    State(gateway): Shared,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let order = Keyed::<RefundRequest>::read(&headers, &whole(body)?, gateway.profile.bodies)?;
    let written = gateway.write(Order::Refund(order)).await?;
    Ok(written.answer.into_response())
}

async fn cancel(State(gateway): Shared, body: Body) -> Result<Response, Refusal> {
    let order: CancelRequest = request::read(&whole(body)?)?;
    let written = gateway.write(Order::Cancel(order)).await?;
    Ok(written.answer.into_response())
}

fn whole(body: Body) -> Result<Bytes, Refusal> {
    body.map_err(|rejection| Refusal::invalid(rejection.body_text()))
}

impl Gateway {
    /// Notes that a request with the key is under way, where that matters.
    fn enter(&self, key: &str) -> Result<Option<Underway>, Refusal> {
        let refuses = self.profile.refuses_in_progress;
        refuses.then(|| self.progress.enter(key)).transpose()
    }

    /// What a look-up by reference sees.
    fn seen_until(&self) -> Moment {
        match self.profile.look_up_lag {
            Duration::ZERO => Moment::LAST,
            lag => self.books.clock.now().before(lag),
        }
    }

    async fn write(&self, order: Order) -> Result<Written, Refusal> {
        let written = self.books.writer.write(order).await?;
        if let Some(postman) = &self.postman
            && !written.webhooks.is_empty()
        {
            postman.wake();
        }
        Ok(written)
    }

    /// What stands between a charge in the books and its answer.
    async fn linger(&self, behaviour: Behaviour, written: &Written) -> Result<(), Refusal> {
        match behaviour {
            Behaviour::Slow(wait) => self.wait(wait).await,
            Behaviour::TimeoutCharged(wait) => {
                self.wait(wait).await?;
                Err(Refusal::silent())
            }
            Behaviour::EarlyWebhook => {
                if let Some(postman) = &self.postman {
                    postman.attempt_all(&written.webhooks).await;
                }
                Ok(())
            }
            Behaviour::Approve
            | Behaviour::Decline
            | Behaviour::SoftThenOk
            | Behaviour::FailThenOk
            | Behaviour::FailOnce
            | Behaviour::BusyThenOk
            | Behaviour::Late(_)
            | Behaviour::DuplicateWebhook
            | Behaviour::WrongAmount
            | Behaviour::UnknownCard => Ok(()),
        }
    }

    /// Waits, unless the gateway stops before.
    async fn wait(&self, time: Duration) -> Result<(), Refusal> {
        tokio::select! {
            () = clock::pause(time) => Ok(()),
            () = self.stop.cancelled() => Err(Refusal::silent()),
        }
    }
}
