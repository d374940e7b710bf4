//! The report of a month: a table for people, a CSV file for their programs.

use anyhow::{Context, Result};
use billing::month_close;
use billing::report::{self, Collection};
use billing_workers::site::Site;
use billing_workers::write_report;
use chrono::NaiveDate;
use serde_json::json;

use crate::{BadInput, Verdict};

/// `month-close report`.
pub(crate) async fn run(site: &Site, period: Option<NaiveDate>, json: bool) -> Result<Verdict> {
    let month = match period {
        Some(month) => month,
        None => month_close::last_month(site.pool()).await?.ok_or_else(|| {
            BadInput("no month was closed yet: run `just month-close` first".to_owned())
        })?,
    };
    if month_close::figures(site.pool(), month).await?.accounts == 0 {
        let month = month.format("%Y-%m");
        let text = format!("there is no {month} in the books: no account was ever used in it");
        return Err(BadInput(text).into());
    }
    if month_close::run_of(site.pool(), month).await?.is_none() {
        let month = month.format("%Y-%m");
        let text = format!("{month} is not closed yet: close it with --period {month} first");
        return Err(BadInput(text).into());
    }
    let collection = report::collection(site.pool(), month)
        .await
        .context("the report failed")?;
    print(month, &collection);
    let path = write_report(site.pool(), month, &site.reports_dir()).await?;
    eprintln!("\nReport     {}", path.display());
    if json {
        println!(
            "{}",
            json!({ "period": month.format("%Y-%m").to_string(), "report": path })
        );
    }
    Ok(Verdict::Clean)
}

/// The figures, what is open and why, and what was done about it.
pub(crate) fn print(month: NaiveDate, collection: &Collection) {
    eprint!("{}", report::table(month, &collection.figures));
    let open = report::open_table(&collection.open);
    if !open.is_empty() {
        eprint!("\n{open}");
    }
    let Collection { held, notices, .. } = collection;
    eprintln!("\nHeld       {held} accounts\nNotices    {notices} sent");
}
