//! History: who did what to an account, when and why, from the log of events.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use billing::history::{self, Entry};
use outbox::Outbox;
use serde::Deserialize;

use crate::accounts;
use crate::page::{Limit, Page};
use crate::problem::Problem;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Which {
    #[serde(default)]
    limit: Limit,
    #[serde(default)]
    after: i64,
}

pub(crate) async fn of_account(
    State(outbox): State<Outbox>,
    id: Result<Path<String>, PathRejection>,
    which: Result<Query<Which>, QueryRejection>,
) -> Result<Json<Page<Entry>>, Problem> {
    let Path(id) = id?;
    let Query(Which { limit, after }) = which?;
    let mut connection = outbox.pool().acquire().await?;
    let account = accounts::found(&mut connection, &id).await?.account_id;
    // Whoever holds one connection must not wait for a second one: a full pool would stand still.
    drop(connection);
    let more = limit.and_one_more();
    let found = history::of_account(outbox.pool(), account, after, more).await?;
    Ok(Json(Page::of(found, limit, |entry| entry.id.to_string())))
}
