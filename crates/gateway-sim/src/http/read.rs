//! Requests that only read: look-ups by the caller's reference or our id, the statement, health.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use crate::answer::{Answer, Refusal};
use crate::books::StatementQuery;
use crate::clock::Moment;

const STATEMENT_LIMIT: u32 = 100;
const STATEMENT_LIMIT_MAX: u32 = 1000;

type Asked<T> = Result<Query<T>, QueryRejection>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ByReference {
    reference: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StatementSpan {
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
    #[serde(default)]
    after: i64,
    limit: Option<u32>,
}

pub(super) async fn charges(
    State(gateway): Shared,
    asked: Asked<ByReference>,
) -> Result<Answer, Refusal> {
    let reference = understood(asked)?.reference;
    let charges = gateway
        .books
        .lookup
        .charges_by_reference(reference, gateway.seen_until())
        .await?;
    Ok(Answer::new(StatusCode::OK, &json!({ "charges": charges })))
}

pub(super) async fn charge(
    State(gateway): Shared,
    Path(id): Path<String>,
) -> Result<Answer, Refusal> {
    let found = gateway.books.lookup.charge_by_id(id).await?;
    let charge = found.ok_or_else(|| {
        let message = "There is no charge with this id.";
        Refusal::new(StatusCode::NOT_FOUND, "unknown_charge", message)
    })?;
    Ok(Answer::new(StatusCode::OK, &charge))
}

pub(super) async fn refunds(
    State(gateway): Shared,
    asked: Asked<ByReference>,
) -> Result<Answer, Refusal> {
    let reference = understood(asked)?.reference;
    let refunds = gateway
        .books
        .lookup
        .refunds_by_reference(reference, gateway.seen_until())
        .await?;
    Ok(Answer::new(StatusCode::OK, &json!({ "refunds": refunds })))
}

pub(super) async fn statement(
    State(gateway): Shared,
    asked: Asked<StatementSpan>,
) -> Result<Answer, Refusal> {
    let span = understood(asked)?;
    let limit = span.limit.unwrap_or(STATEMENT_LIMIT);
    if !(1..=STATEMENT_LIMIT_MAX).contains(&limit) {
        let message = format!("limit: give 1 to {STATEMENT_LIMIT_MAX}");
        return Err(Refusal::invalid(message));
    }
    let query = StatementQuery {
        from: span.from.map_or(Moment::FIRST, Moment::from),
        to: span.to.map_or(Moment::LAST, Moment::from),
        after: span.after,
        limit,
    };
    let statement = gateway.books.lookup.statement(query).await?;
    Ok(Answer::new(StatusCode::OK, &statement))
}

pub(super) async fn health(State(gateway): Shared) -> Json<Value> {
    Json(json!({
        "status": "ok",
        "books": gateway.books_id,
        "profile": gateway.profile.name,
    }))
}

fn understood<T>(asked: Asked<T>) -> Result<T, Refusal> {
    let Query(asked) = asked.map_err(|rejection| Refusal::invalid(rejection.body_text()))?;
    Ok(asked)
}
