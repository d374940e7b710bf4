//! Health: whether the database answers, and what the log and its consumers have still to do.
//!
//! Only a database that does not answer is 503. Events that wait and dead letters are told, but
//! another process would see the same: taking this one out of service mends nothing.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use outbox::{Backlog, Outbox};
use serde::Serialize;
use tokio::time::timeout;

/// Whoever asks for health asks again soon.
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Debug, Serialize)]
pub(crate) struct Health {
    /// `ok`, `trouble` where a consumer gave up on an event, or `down`.
    status: &'static str,
    /// Whether the database answers.
    database: bool,
    /// Committed events that no relay has published yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pending_events: Option<i64>,
    consumers: Vec<ConsumerHealth>,
}

#[derive(Debug, Serialize)]
struct ConsumerHealth {
    name: &'static str,
    /// Whether there are events that it has not passed.
    behind: bool,
    /// Deliveries that run, or are due within half a minute.
    due: i64,
    /// Deliveries that wait longer, or behind another of their key.
    waiting: i64,
    /// Dead letters.
    dead: i64,
}

impl ConsumerHealth {
    fn of(name: &'static str, backlog: Backlog) -> Self {
        Self {
            name,
            behind: backlog.behind,
            due: backlog.due,
            waiting: backlog.waiting,
            dead: backlog.dead,
        }
    }
}

pub(crate) async fn check(State(outbox): State<Outbox>) -> (StatusCode, Json<Health>) {
    match timeout(PATIENCE, look(&outbox)).await {
        Ok(Ok(health)) => (StatusCode::OK, Json(health)),
        Ok(Err(error)) => {
            tracing::warn!("The database does not answer: {error:#}");
            down()
        }
        Err(_) => {
            tracing::warn!("The database does not answer within {PATIENCE:?}");
            down()
        }
    }
}

async fn look(outbox: &Outbox) -> Result<Health, sqlx::Error> {
    let pool = outbox.pool();
    let pending = outbox::pending(pool).await?;
    let mut consumers = Vec::new();
    for name in billing_workers::names() {
        let backlog = outbox::backlog(pool, name).await?;
        consumers.push(ConsumerHealth::of(name, backlog));
    }
    let in_trouble = consumers.iter().any(|consumer| consumer.dead > 0);
    Ok(Health {
        status: if in_trouble { "trouble" } else { "ok" },
        database: true,
        pending_events: Some(pending),
        consumers,
    })
}

fn down() -> (StatusCode, Json<Health>) {
    let health = Health {
        status: "down",
        database: false,
        pending_events: None,
        consumers: Vec::new(),
    };
    (StatusCode::SERVICE_UNAVAILABLE, Json(health))
}
