//! History: who did what to an account, when and why, from the log of events.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use billing::history::{self, Entry};
use outbox::Outbox;

use crate::accounts;
use crate::page::{Page, Piece};
use crate::problem::Problem;

pub(crate) async fn of_account(
    State(outbox): State<Outbox>,
    id: Result<Path<String>, PathRejection>,
    piece: Result<Query<Piece<i64>>, QueryRejection>,
) -> Result<Json<Page<Entry>>, Problem> {
    let Path(id) = id?;
    let Query(Piece { limit, after }) = piece?;
    let account = accounts::id_of(&outbox, &id).await?;
    let (after, more) = (after.unwrap_or_default(), limit.and_one_more());
    let found = history::of_account(outbox.pool(), account, after, more).await?;
    Ok(Json(Page::of(found, limit, |entry| entry.id.to_string())))
}
