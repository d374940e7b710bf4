//! Accounts: creating one, finding one, listing them.

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::{Extension, Json};
use billing::account::{self, Account, AccountError, NewAccount};
use billing::ids::AccountId;
use billing::money::Currency;
use outbox::{Outbox, clock};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::body::JsonBody;
use crate::caller::WhoAsks;
use crate::page::{Limit, Page};
use crate::problem::Problem;

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

#[derive(Debug, Serialize)]
pub(crate) struct AccountView {
    account_id: AccountId,
    external_id: String,
    name: String,
    currency: Currency,
    zone: &'static str,
}

impl From<Account> for AccountView {
    fn from(account: Account) -> Self {
        Self {
            account_id: account.account_id,
            external_id: account.external_id,
            name: account.name,
            currency: account.currency,
            zone: account.zone.name(),
        }
    }
}

pub(crate) async fn create(
    State(outbox): State<Outbox>,
    Extension(caller): WhoAsks,
    JsonBody(body): JsonBody<NewAccountBody>,
) -> Result<impl IntoResponse, Problem> {
    let wanted = body.wanted()?;
    let mut tx = outbox.begin(caller.origin()).await?;
    let account = account::create(&mut tx, wanted, clock::now()).await?;
    tx.commit().await?;
    let location = format!("/v1/accounts/{}", Uuid::from(account.account_id));
    let view = Json(AccountView::from(account));
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], view))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Which {
    #[serde(default)]
    limit: Limit,
    after: Option<AccountId>,
}

pub(crate) async fn list(
    State(outbox): State<Outbox>,
    which: Result<Query<Which>, QueryRejection>,
) -> Result<Json<Page<AccountView>>, Problem> {
    let Query(Which { limit, after }) = which?;
    let mut connection = outbox.pool().acquire().await?;
    let found = account::list(&mut connection, after, limit.and_one_more()).await?;
    let views = found.into_iter().map(AccountView::from).collect();
    let place = |account: &AccountView| Uuid::from(account.account_id).to_string();
    Ok(Json(Page::of(views, limit, place)))
}

pub(crate) async fn show(
    State(outbox): State<Outbox>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<AccountView>, Problem> {
    let Path(id) = id?;
    let mut connection = outbox.pool().acquire().await?;
    let account = found(&mut connection, &id).await?;
    Ok(Json(account.into()))
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
            AccountError::ExternalIdTaken(_) => Self::new(StatusCode::CONFLICT, error.to_string()),
            AccountError::Database(error) => error.into(),
        }
    }
}
