//! Accounts: creating one, finding one, listing them, saying where their notices go.

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::{Extension, Json};
use billing::account::{self, Account, AccountError, NewAccount};
use billing::ids::AccountId;
use billing::money::Currency;
use outbox::Outbox;
use serde::Deserialize;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::body::JsonBody;
use crate::caller::WhoAsks;
use crate::instant;
use crate::page::{Page, Piece};
use crate::problem::Problem;

mod view;

use view::{AccountView, Standings};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[serde(expecting = "an object with external_id, name, currency and zone")]
pub(crate) struct NewAccountBody {
    external_id: String,
    name: String,
    currency: String,
    zone: String,
}

impl NewAccountBody {
    fn wanted(self) -> Result<NewAccount, Problem> {
        let currency = Currency::parse(&self.currency);
        Ok(NewAccount {
            currency: currency.map_err(|why| Problem::invalid("currency", why))?,
            zone: account::parse_zone(&self.zone)?,
            external_id: self.external_id,
            name: self.name,
        })
    }
}

pub(crate) async fn create(
    State(outbox): State<Outbox>,
    Extension(caller): WhoAsks,
    JsonBody(body): JsonBody<NewAccountBody>,
) -> Result<impl IntoResponse, Problem> {
    let wanted = body.wanted()?;
    let mut tx = outbox.begin(caller.origin()).await?;
    let account = account::create(&mut tx, wanted, instant::now()).await?;
    tx.commit().await?;
    let location = format!("/v1/accounts/{}", Uuid::from(account.account_id));
    let view = Json(AccountView::new(account, &mut Standings::default()));
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], view))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[serde(expecting = "an object with email, which may be null")]
pub(crate) struct ChangeBody {
    // Left out it is missing, not null: an empty object must not take an address away.
    #[serde(deserialize_with = "Option::deserialize")]
    email: Option<String>,
}

pub(crate) async fn change(
    State(outbox): State<Outbox>,
    Extension(caller): WhoAsks,
    id: Result<Path<String>, PathRejection>,
    JsonBody(body): JsonBody<ChangeBody>,
) -> Result<Json<AccountView>, Problem> {
    let Path(id) = id?;
    let account = id_of(&outbox, &id).await?;
    let mut tx = outbox.begin(caller.origin()).await?;
    account::set_email(&mut tx, account, body.email.as_deref()).await?;
    let changed = found(&mut tx, &Uuid::from(account).to_string()).await?;
    let view = view::one(&mut tx, changed).await?;
    tx.commit().await?;
    Ok(Json(view))
}

pub(crate) async fn list(
    State(outbox): State<Outbox>,
    piece: Result<Query<Piece<AccountId>>, QueryRejection>,
) -> Result<Json<Page<AccountView>>, Problem> {
    let Query(Piece { limit, after }) = piece?;
    let mut connection = outbox.pool().acquire().await?;
    let found = account::list(&mut connection, after, limit.and_one_more()).await?;
    let views = view::all(&mut connection, found).await?;
    Ok(Json(Page::of(views, limit, AccountView::place)))
}

pub(crate) async fn show(
    State(outbox): State<Outbox>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<AccountView>, Problem> {
    let Path(id) = id?;
    let mut connection = outbox.pool().acquire().await?;
    let account = found(&mut connection, &id).await?;
    Ok(Json(view::one(&mut connection, account).await?))
}

/// The id of an account, by it or by its external id. The connection is given back: whoever holds
/// one must not wait for a second one, or a full pool would stand still.
pub(crate) async fn id_of(outbox: &Outbox, text: &str) -> Result<AccountId, Problem> {
    let mut connection = outbox.pool().acquire().await?;
    Ok(found(&mut connection, text).await?.account_id)
}

/// The account of an id, or else of an external id.
pub(crate) async fn found(connection: &mut PgConnection, text: &str) -> Result<Account, Problem> {
    find(connection, text)
        .await?
        .ok_or_else(|| Problem::not_found(format!("There is no account {text:?}.")))
}

/// An id wins over an external id that looks like it.
pub(crate) async fn find(
    connection: &mut PgConnection,
    text: &str,
) -> Result<Option<Account>, AccountError> {
    if let Some(id) = crate::page::id(text, "acc_")
        && let Some(account) = account::by_id(connection, id.into()).await?
    {
        return Ok(Some(account));
    }
    // No account is called so, and to the database a NUL would be an error.
    if text.chars().any(char::is_control) {
        return Ok(None);
    }
    account::by_external_id(connection, text).await
}

impl From<AccountError> for Problem {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::ExternalId(..) => Self::invalid("external_id", error),
            AccountError::Name(..) => Self::invalid("name", error),
            AccountError::UnknownZone(_) => Self::invalid("zone", error),
            AccountError::Email(_) => Self::invalid("email", error),
            AccountError::Missing(_) => Self::not_found(error.to_string()),
            AccountError::ExternalIdTaken(_) => Self::new(StatusCode::CONFLICT, error.to_string()),
            AccountError::Database(error) => error.into(),
        }
    }
}
