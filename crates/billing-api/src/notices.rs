//! Notices: what an account was told and what it was spared, when and why.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use billing::ids::NoticeId;
use billing::notice::{self, Notice};
use outbox::Outbox;
use uuid::Uuid;

use crate::accounts;
use crate::page::{Page, Piece};
use crate::problem::Problem;

pub(crate) async fn of_account(
    State(outbox): State<Outbox>,
    id: Result<Path<String>, PathRejection>,
    piece: Result<Query<Piece<NoticeId>>, QueryRejection>,
) -> Result<Json<Page<Notice>>, Problem> {
    let (id, Query(Piece { limit, after })) = (id?, piece?);
    let account = accounts::id_of(&outbox, &id).await?;
    let more = limit.and_one_more();
    let found = notice::of_account(outbox.pool(), account, after, more).await?;
    let place = |notice: &Notice| Uuid::from(notice.notice_id).to_string();
    Ok(Json(Page::of(found, limit, place)))
}
