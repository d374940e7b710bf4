//! Payments: those of an account, and money that came by hand.

use axum::Extension;
use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use billing::ids::{AccountId, PaymentId};
use billing::payment::{self, ByHand, PaymentError};
use outbox::Outbox;
use serde::Deserialize;

use crate::body::JsonBody;
use crate::caller::WhoAsks;
use crate::page::{Page, Piece, chosen};
use crate::problem::Problem;
use crate::{accounts, amount, instant, invoices};

mod view;

pub(crate) use view::PaymentView;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[serde(expecting = "an object with amount, currency, note and maybe payment_id and invoice")]
pub(crate) struct ByHandBody {
    payment_id: Option<String>,
    invoice: Option<String>,
    amount: String,
    currency: String,
    note: String,
}

impl ByHandBody {
    async fn wanted(self, outbox: &Outbox, account: AccountId) -> Result<ByHand, Problem> {
        let invoice = match &self.invoice {
            Some(text) => {
                let found = invoices::find(outbox, text).await?;
                let ours = found.filter(|invoice| invoice.account_id == account);
                let missing = || format!("the account has no invoice {text:?}");
                Some(ours.ok_or_else(|| Problem::invalid("invoice", missing()))?)
            }
            None => None,
        };
        Ok(ByHand {
            payment: chosen("payment_id", self.payment_id.as_deref(), "pay_")?
                .map_or_else(PaymentId::new, PaymentId::from),
            account,
            invoice: invoice.map(|invoice| invoice.invoice_id),
            money: amount::told(&self.amount, &self.currency)?,
            note: self.note,
        })
    }
}

pub(crate) async fn record(
    State(outbox): State<Outbox>,
    Extension(caller): WhoAsks,
    id: Result<Path<String>, PathRejection>,
    JsonBody(body): JsonBody<ByHandBody>,
) -> Result<(StatusCode, Json<PaymentView>), Problem> {
    let account = accounts::id_of(&outbox, &id?).await?;
    let wanted = body.wanted(&outbox, account).await?;
    let mut tx = outbox.begin(caller.origin()).await?;
    let recorded = payment::record(&mut tx, wanted, instant::now()).await?;
    let written = payment::by_id(&mut tx, recorded.payment).await?;
    let view = written.map(PaymentView::of).transpose()?;
    tx.commit().await?;
    let missing = PaymentError::NoPayment(recorded.payment);
    let view = view.ok_or_else(|| Problem::broken(missing))?;
    let status = if recorded.is_new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, Json(view)))
}

pub(crate) async fn list(
    State(outbox): State<Outbox>,
    id: Result<Path<String>, PathRejection>,
    piece: Result<Query<Piece<PaymentId>>, QueryRejection>,
) -> Result<Json<Page<PaymentView>>, Problem> {
    let (id, Query(Piece { limit, after })) = (id?, piece?);
    let account = accounts::id_of(&outbox, &id).await?;
    let mut connection = outbox.pool().acquire().await?;
    let found = payment::list(&mut connection, account, after, limit.and_one_more()).await?;
    let views: Result<Vec<_>, Problem> = found.into_iter().map(PaymentView::of).collect();
    Ok(Json(Page::of(views?, limit, PaymentView::place)))
}

impl From<PaymentError> for Problem {
    fn from(error: PaymentError) -> Self {
        match error {
            PaymentError::NoAccount(_) => Self::not_found(error.to_string()),
            PaymentError::IdTaken(_) => Self::new(StatusCode::CONFLICT, error.to_string()),
            PaymentError::NoInvoice(_) => Self::invalid("invoice", error),
            PaymentError::Amount(_) => Self::invalid("amount", error),
            PaymentError::Currency { .. } => Self::invalid("currency", error),
            PaymentError::Note(_) => Self::invalid("note", error),
            PaymentError::NoPayment(_)
            | PaymentError::Money(_)
            | PaymentError::Post(_)
            | PaymentError::Credit(_)
            | PaymentError::Owed(_)
            | PaymentError::Database(_) => match error.into_database() {
                Ok(error) => error.into(),
                Err(error) => Self::broken(error),
            },
        }
    }
}
