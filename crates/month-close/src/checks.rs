//! The checks, printed: what must not exist, looked for.

use anyhow::{Context, Result};
use billing::check::{self, Outcome};
use billing::gateway::Gateways;
use billing::reconciliation::{self, Reconciliation};
use billing_workers::gateways::{self, GatewayConfig};
use billing_workers::site::Site;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::{Verdict, settle};

/// The gateways' statements beside our books, by the gateways' names.
pub(crate) type Books = Vec<(String, Reconciliation)>;

/// Compares the books of all gateways.
pub(crate) async fn books(pool: &PgPool, gateways: &Gateways) -> Result<Books> {
    let mut books = Books::new();
    for name in gateways.names() {
        let Some(gateway) = gateways.get(name) else {
            continue;
        };
        let found = reconciliation::reconcile(pool, name, gateway.as_ref())
            .await
            .with_context(|| format!("could not compare the books of the gateway {name:?}"))?;
        books.push((name.to_owned(), found));
    }
    Ok(books)
}

/// Runs the checks; those that hold only at rest when the log is drained.
pub(crate) async fn all(pool: &PgPool, books: Books) -> Result<Vec<Outcome>> {
    let at_rest = settle::drained(pool)
        .await?
        .is_some_and(|rest| rest.waiting == 0);
    let scope = if at_rest {
        check::Scope::AtRest
    } else {
        check::Scope::Always
    };
    let mut outcomes = check::run(pool, scope)
        .await
        .context("the checks could not run")?;
    outcomes.extend(books.iter().map(|(_, found)| found.outcome(scope)));
    Ok(outcomes)
}

/// `month-close check`.
pub(crate) async fn run(site: &Site, json: bool) -> Result<Verdict> {
    let gateways = gateways::open(&GatewayConfig::from_variables(site.data_dir())?).await?;
    let books = books(site.pool(), gateways.gateways()).await?;
    gateways.close().await;
    let outcomes = all(site.pool(), books).await?;
    print(&outcomes);
    if json {
        println!("{}", json!({ "checks": summary(&outcomes) }));
    }
    Ok(if is_violated(&outcomes) {
        Verdict::Violated
    } else {
        Verdict::Clean
    })
}

/// Says how many ran, and names each violated one with some of its rows.
pub(crate) fn print(outcomes: &[Outcome]) {
    let violated: Vec<_> = outcomes
        .iter()
        .filter(|outcome| outcome.violations > 0)
        .collect();
    match violated.len() {
        0 => eprintln!("Checks     {} run, none violated", outcomes.len()),
        n => eprintln!("Checks     {} run, {n} VIOLATED", outcomes.len()),
    }
    for outcome in violated {
        eprintln!(
            "  {} {}: {} rows",
            outcome.code, outcome.title, outcome.violations
        );
        for row in &outcome.rows {
            eprintln!("     {row}");
        }
    }
}

pub(crate) fn is_violated(outcomes: &[Outcome]) -> bool {
    outcomes.iter().any(|outcome| outcome.violations > 0)
}

/// For machines: how many ran, how many are violated, and which.
pub(crate) fn summary(outcomes: &[Outcome]) -> Value {
    let codes: Vec<_> = outcomes
        .iter()
        .filter(|outcome| outcome.violations > 0)
        .map(|outcome| outcome.code)
        .collect();
    json!({ "run": outcomes.len(), "violated": codes.len(), "codes": codes })
}
