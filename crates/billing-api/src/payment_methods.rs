//! Payment methods: cards, by the tokens that gateways give out for them.
//!
//! Whoever sends a card's number by mistake must not find it again: not in the answer, not in the
//! log. So nothing of a body is repeated here, whatever is wrong with it.

use axum::Extension;
use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use billing::ids::{AccountId, PaymentMethodId};
use billing::payment_method::{self, NewPaymentMethod, PaymentMethod, PaymentMethodError};
use outbox::Outbox;
use serde::Deserialize;
use uuid::Uuid;

use crate::accounts;
use crate::body::{Expected, SecretBody};
use crate::caller::WhoAsks;
use crate::instant;
use crate::page::{self, Page, Piece};
use crate::problem::Problem;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewMethodBody {
    gateway: String,
    token: String,
    brand: String,
    last_four: String,
}

impl Expected for NewMethodBody {
    const EXPECTED: &'static str =
        "The body must be an object of four texts: gateway, token, brand and last_four.";
}

impl NewMethodBody {
    fn wanted(self, account: AccountId) -> NewPaymentMethod {
        NewPaymentMethod {
            account,
            gateway: self.gateway,
            token: self.token,
            brand: self.brand,
            last_four: self.last_four,
        }
    }
}

pub(crate) async fn add(
    State(outbox): State<Outbox>,
    Extension(caller): WhoAsks,
    id: Result<Path<String>, PathRejection>,
    SecretBody(body): SecretBody<NewMethodBody>,
) -> Result<(StatusCode, Json<PaymentMethod>), Problem> {
    let account = accounts::id_of(&outbox, &id?).await?;
    let mut tx = outbox.begin(caller.origin()).await?;
    let now = instant::now();
    let method = payment_method::add(&mut tx, body.wanted(account), now).await?;
    tx.commit().await?;
    let is_new = method.added_at == now;
    let status = if is_new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, Json(method)))
}

pub(crate) async fn list(
    State(outbox): State<Outbox>,
    id: Result<Path<String>, PathRejection>,
    piece: Result<Query<Piece<PaymentMethodId>>, QueryRejection>,
) -> Result<Json<Page<PaymentMethod>>, Problem> {
    let (id, Query(Piece { limit, after })) = (id?, piece?);
    let account = accounts::id_of(&outbox, &id).await?;
    let mut connection = outbox.pool().acquire().await?;
    let more = limit.and_one_more();
    let found = payment_method::list(&mut connection, account, after, more).await?;
    let place = |method: &PaymentMethod| Uuid::from(method.payment_method_id).to_string();
    Ok(Json(Page::of(found, limit, place)))
}

pub(crate) async fn remove(
    State(outbox): State<Outbox>,
    Extension(caller): WhoAsks,
    ids: Result<Path<(String, String)>, PathRejection>,
) -> Result<StatusCode, Problem> {
    let Path((account, method)) = ids?;
    let account = accounts::id_of(&outbox, &account).await?;
    let method = page::id(&method, "pmt_").ok_or_else(missing)?;
    let mut tx = outbox.begin(caller.origin()).await?;
    payment_method::remove(&mut tx, account, method.into(), instant::now()).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

fn missing() -> Problem {
    Problem::not_found("The account has no such payment method in use.")
}

impl From<PaymentMethodError> for Problem {
    fn from(error: PaymentMethodError) -> Self {
        match error {
            PaymentMethodError::NoAccount(_) => Self::not_found(error.to_string()),
            PaymentMethodError::Missing(_) => missing(),
            PaymentMethodError::Text { field, .. } | PaymentMethodError::CardNumber(field) => {
                Self::invalid(field, error)
            }
            PaymentMethodError::LastFour => Self::invalid("last_four", error),
            PaymentMethodError::Database(error) => error.into(),
        }
    }
}
