//! Reports: the figures of a month's collection.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use billing::money::Currency;
use billing::report::{self, Figures, ReportError};
use outbox::Outbox;
use serde::Serialize;

use crate::page::{Month, written_month};
use crate::problem::Problem;

#[derive(Debug, Serialize)]
pub(crate) struct ReportView {
    month: String,
    currencies: Vec<FiguresView>,
}

#[derive(Debug, Serialize)]
struct FiguresView {
    currency: Currency,
    invoices: i64,
    zero: i64,
    paid: i64,
    open: i64,
    lines: i64,
    invoiced: String,
}

impl From<Figures> for FiguresView {
    fn from(figures: Figures) -> Self {
        Self {
            currency: figures.invoiced.currency(),
            invoices: figures.invoices,
            zero: figures.zero,
            paid: figures.paid,
            open: figures.open,
            lines: figures.lines,
            invoiced: figures.invoiced.decimal(),
        }
    }
}

pub(crate) async fn of_month(
    State(outbox): State<Outbox>,
    month: Result<Path<String>, PathRejection>,
) -> Result<Json<ReportView>, Problem> {
    let Path(text) = month?;
    let Month(month) = Month::try_from(text).map_err(|why| Problem::invalid("month", why))?;
    let figures = report::of_month(outbox.pool(), month).await?;
    Ok(Json(ReportView {
        month: written_month(month),
        currencies: figures.into_iter().map(FiguresView::from).collect(),
    }))
}

impl From<ReportError> for Problem {
    fn from(error: ReportError) -> Self {
        match error {
            ReportError::Database(error) => error.into(),
            ReportError::Money(_) => Self::broken(error),
        }
    }
}
