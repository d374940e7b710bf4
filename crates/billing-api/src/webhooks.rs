//! Webhooks: what gateways tell on their own.
//!
//! Believed by the signature over the very bytes that came, kept and applied in one transaction,
//! and acknowledged only after its commit. Whoever cannot prove who they are learn nothing, not
//! even what is wrong with their proof; that is in the log.

use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::{Extension, Json};
use billing::gateway::{Gateways, Webhook, WebhookError};
use billing::payment::{self, Received};
use chrono::{DateTime, Utc};
use outbox::Outbox;
use serde::Serialize;
use tracing::{error, warn};

use crate::caller::WhoAsks;
use crate::instant;
use crate::problem::Problem;

/// The same whatever came of it: the sender has nothing more to do.
#[derive(Debug, Serialize)]
pub(crate) struct Receipt {
    received: bool,
}

pub(crate) async fn receive(
    State(outbox): State<Outbox>,
    State(gateways): State<Gateways>,
    Extension(caller): WhoAsks,
    name: Result<Path<String>, PathRejection>,
    (headers, body): (HeaderMap, Bytes),
) -> Result<Json<Receipt>, Problem> {
    let Path(name) = name?;
    let now = instant::now();
    let webhook = believed(&gateways, &name, (&headers, &body), now)?;
    let id = webhook.id.clone();
    let mut tx = outbox
        .begin(caller.origin_of(format!("gateway {name}")))
        .await?;
    let received = payment::receive(&mut tx, (&name, webhook), &body, now).await?;
    tx.commit().await?;
    if received == Received::UnknownCharge {
        warn!(webhook = %id, "The gateway {name} tells of a charge that we know nothing of");
    }
    Ok(Json(Receipt { received: true }))
}

fn believed(
    gateways: &Gateways,
    name: &str,
    (headers, body): (&HeaderMap, &Bytes),
    now: DateTime<Utc>,
) -> Result<Webhook, Problem> {
    let gateway = gateways.get(name);
    let gateway =
        gateway.ok_or_else(|| Problem::not_found(format!("There is no gateway {name:?}.")))?;
    let header = |name: &str| Some(headers.get(name)?.to_str().ok()?.to_owned());
    gateway
        .webhook(&header, body, now)
        .map_err(|refused| match refused {
            WebhookError::Forged(why) => {
                warn!("A webhook to the gateway {name} was refused: {why}");
                let detail = "The webhook does not prove whose it is.";
                Problem::new(StatusCode::UNAUTHORIZED, detail)
            }
            WebhookError::Unreadable(why) => {
                error!("A genuine webhook of the gateway {name} cannot be read: {why}");
                let detail = "The webhook cannot be read.";
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
            }
        })
}
