//! Credits: what customers were given in advance.

use axum::Extension;
use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use billing::credit::{self, Credit, CreditError, Granted, NewCredit};
use billing::ids::{AccountId, CreditId};
use billing::money::Currency;
use billing::payment::PaymentError;
use chrono::{DateTime, Utc};
use outbox::Outbox;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::body::JsonBody;
use crate::caller::WhoAsks;
use crate::page::{Page, Piece, chosen};
use crate::problem::Problem;
use crate::{accounts, amount, instant};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[serde(expecting = "an object with amount, currency, reason and maybe credit_id")]
pub(crate) struct NewCreditBody {
    credit_id: Option<String>,
    amount: String,
    currency: String,
    reason: String,
}

impl NewCreditBody {
    fn wanted(self, account: AccountId) -> Result<NewCredit, Problem> {
        Ok(NewCredit {
            credit: chosen("credit_id", self.credit_id.as_deref(), "crd_")?
                .map_or_else(CreditId::new, CreditId::from),
            account,
            money: amount::told(&self.amount, &self.currency)?,
            reason: self.reason,
        })
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct CreditView {
    credit_id: CreditId,
    amount: String,
    amount_minor: i64,
    currency: Currency,
    reason: String,
    granted_at: DateTime<Utc>,
}

impl From<Credit> for CreditView {
    fn from(credit: Credit) -> Self {
        Self {
            credit_id: credit.credit_id,
            amount: credit.money.decimal(),
            amount_minor: credit.money.minor(),
            currency: credit.money.currency(),
            reason: credit.reason,
            granted_at: credit.granted_at,
        }
    }
}

pub(crate) async fn grant(
    State(outbox): State<Outbox>,
    Extension(caller): WhoAsks,
    id: Result<Path<String>, PathRejection>,
    JsonBody(body): JsonBody<NewCreditBody>,
) -> Result<(StatusCode, Json<CreditView>), Problem> {
    let account = accounts::id_of(&outbox, &id?).await?;
    let wanted = body.wanted(account)?;
    let mut tx = outbox.begin(caller.origin()).await?;
    let Granted { credit, is_new } = credit::grant(&mut tx, wanted, instant::now()).await?;
    tx.commit().await?;
    let status = if is_new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, Json(credit.into())))
}

pub(crate) async fn list(
    State(outbox): State<Outbox>,
    id: Result<Path<String>, PathRejection>,
    piece: Result<Query<Piece<CreditId>>, QueryRejection>,
) -> Result<Json<Page<CreditView>>, Problem> {
    let (id, Query(Piece { limit, after })) = (id?, piece?);
    let account = accounts::id_of(&outbox, &id).await?;
    let mut connection = outbox.pool().acquire().await?;
    let found = credit::list(&mut connection, account, after, limit.and_one_more()).await?;
    let views = found.into_iter().map(CreditView::from).collect();
    let place = |credit: &CreditView| Uuid::from(credit.credit_id).to_string();
    Ok(Json(Page::of(views, limit, place)))
}

impl From<CreditError> for Problem {
    fn from(error: CreditError) -> Self {
        match error {
            CreditError::NoAccount(_) => Self::not_found(error.to_string()),
            CreditError::IdTaken(_) => Self::new(StatusCode::CONFLICT, error.to_string()),
            CreditError::Amount(_) => Self::invalid("amount", error),
            CreditError::Currency { .. } => Self::invalid("currency", error),
            CreditError::Reason(_) => Self::invalid("reason", error),
            CreditError::Money(_)
            | CreditError::Post(_)
            | CreditError::Owed(_)
            | CreditError::Database(_) => PaymentError::from(error).into(),
        }
    }
}
