//! The checks, printed: what must not exist, looked for.

use anyhow::{Context, Result};
use billing::check::{self, Outcome};
use billing_workers::site::Site;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::{Verdict, settle};

/// Runs the checks; those that hold only at rest when the log is drained.
pub(crate) async fn all(pool: &PgPool) -> Result<Vec<Outcome>> {
    let at_rest = settle::drained(pool)
        .await?
        .is_some_and(|rest| rest.waiting == 0);
    let scope = if at_rest {
        check::Scope::AtRest
    } else {
        check::Scope::Always
    };
    check::run(pool, scope)
        .await
        .context("the checks could not run")
}

/// `month-close check`.
pub(crate) async fn run(site: &Site, json: bool) -> Result<Verdict> {
    let outcomes = all(site.pool()).await?;
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
