//! Invoices: the list, one with its lines, and its page.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{Html, IntoResponse};
use billing::document::{self, FrozenInvoice, LoadError};
use billing::ids::InvoiceId;
use billing::invoice::{self, Filter, ListError, Number, Summary};
use billing::payment;
use outbox::Outbox;
use serde::Deserialize;

use crate::accounts;
use crate::page::{Limit, Month, Page};
use crate::payments::PaymentView;
use crate::problem::Problem;

mod view;

use view::{InvoiceView, SummaryView};

/// The page brings its own style and nothing else; the policy holds though a name slipped through.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Which {
    month: Option<Month>,
    account: Option<String>,
    #[serde(default)]
    limit: Limit,
    after: Option<String>,
}

pub(crate) async fn list(
    State(outbox): State<Outbox>,
    which: Result<Query<Which>, QueryRejection>,
) -> Result<Json<Page<SummaryView>>, Problem> {
    let Query(which) = which?;
    let after = which.after.as_deref().map(|text| {
        Number::parse(text).ok_or_else(|| Problem::invalid("after", "is no number of an invoice"))
    });
    let filter = filter(&outbox, &which).await?;
    let more = which.limit.and_one_more();
    let found = invoice::list(outbox.pool(), filter, after.transpose()?.as_ref(), more).await?;
    let views = found.into_iter().map(SummaryView::from).collect();
    Ok(Json(Page::of(views, which.limit, SummaryView::number)))
}

async fn filter(outbox: &Outbox, which: &Which) -> Result<Filter, Problem> {
    let month = which.month.map(|month| month.0);
    let Some(text) = &which.account else {
        return Ok(Filter {
            month,
            account: None,
        });
    };
    let mut connection = outbox.pool().acquire().await?;
    let account = accounts::find(&mut connection, text).await?;
    let account =
        account.ok_or_else(|| Problem::invalid("account", format!("there is no {text:?}")))?;
    Ok(Filter {
        month,
        account: Some(account.account_id),
    })
}

pub(crate) async fn show(
    State(outbox): State<Outbox>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<InvoiceView>, Problem> {
    let summary = found(&outbox, &id?).await?;
    let frozen = frozen(&outbox, summary.invoice_id).await?;
    let mut connection = outbox.pool().acquire().await?;
    let payments = payment::of_invoice(&mut connection, summary.invoice_id).await?;
    let payments = payments.into_iter().map(PaymentView::of);
    let payments = payments.collect::<Result<_, _>>()?;
    Ok(Json(InvoiceView::of(summary, frozen, payments)))
}

pub(crate) async fn page(
    State(outbox): State<Outbox>,
    id: Result<Path<String>, PathRejection>,
) -> Result<impl IntoResponse, Problem> {
    let summary = found(&outbox, &id?).await?;
    let frozen = frozen(&outbox, summary.invoice_id).await?;
    let policy = [(header::CONTENT_SECURITY_POLICY, POLICY)];
    Ok((policy, Html(document::render(&frozen))))
}

/// The invoice of a number, or of an id.
async fn found(outbox: &Outbox, text: &str) -> Result<Summary, Problem> {
    find(outbox, text)
        .await?
        .ok_or_else(|| Problem::not_found(format!("There is no invoice {text:?}.")))
}

pub(crate) async fn find(outbox: &Outbox, text: &str) -> Result<Option<Summary>, Problem> {
    let found = match (Number::parse(text), crate::page::id(text, "inv_")) {
        (_, Some(id)) => invoice::by_id(outbox.pool(), id.into()).await?,
        (Some(number), None) => invoice::by_number(outbox.pool(), &number).await?,
        (None, None) => None,
    };
    Ok(found)
}

async fn frozen(outbox: &Outbox, id: InvoiceId) -> Result<FrozenInvoice, Problem> {
    let mut connection = outbox.pool().acquire().await?;
    Ok(document::load(&mut connection, id).await?)
}

impl From<ListError> for Problem {
    fn from(error: ListError) -> Self {
        match error {
            ListError::Database(error) => error.into(),
            ListError::Currency { .. } => Self::broken(error),
        }
    }
}

impl From<LoadError> for Problem {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Database(error) => error.into(),
            // It was found a moment ago, and an invoice is never deleted.
            LoadError::Missing(_)
            | LoadError::Lines(_)
            | LoadError::Zone { .. }
            | LoadError::Currency { .. } => Self::broken(error),
        }
    }
}
