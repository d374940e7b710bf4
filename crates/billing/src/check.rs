//! Checks: what must hold at any time, asked of the tables themselves.
//!
//! Each check is a statement in `checks/` that returns the rows which violate it. None leans on the
//! constraint that should prevent its violation, so that they judge a database restored from
//! anywhere. Some hold only at rest: when the relay and the consumers have caught up.
//!
//! The codes are grouped by what is looked at: `L` the ledger, `I` invoices, `E` events, `P`
//! payments, `M` closes, `H` holds, `N` notices, `A` who did what, `F` references, `T` time, `D`
//! documents, `R` reports, `S` rights, `X` the server. Codes that are missing would be of what has
//! no counterpart here:
//!
//! | code | what it would be | why it is not here |
//! |---|---|---|
//! | L1, L2 | entries add up to zero, two at least | a transfer is one amount: it has no halves |
//! | E7 | one mail for each event | mails are the mail server's; notices are N1 and N2 |
//! | P7 | one payment under way | is P1 |
//! | P10 | no removed card charged | is P2 |
//! | A2 | a chain of hashes | the log is the audit: E5 counts it, I5 and M3 hash its sources |
//! | T2, T3 | tenants apart | a database is one company's |
//! | S3 | rights of roles | programs are the owner; A4 sees what binds even the owner |
//! | K | what clients were told | only clients know |
//!
//! No row has a version that events could skip: the log's order is theirs (E5, E8). Nothing is kept
//! of an event that was handled without trouble, so of the order in which events were handled only
//! E8 can tell, while there is trouble. Whether the gateway's books have charges that ours lack is
//! asked of the gateway ([`crate::reconciliation`], G1).
//!
//! Owns nothing. Reads all.

mod store;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::{PgConnection, PgPool};

/// How many violating rows an outcome shows.
pub const ROWS_MAX: usize = 10;

/// Something that must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Check {
    /// Its short name: `L3`.
    pub code: &'static str,
    /// Whether it holds only when no event is under way.
    pub at_rest: bool,
    sql: &'static str,
}

/// Which checks to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Those that hold at any moment.
    Always,
    /// These, and those that hold when the relay and all consumers have caught up.
    AtRest,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// The check.
    pub code: &'static str,
    /// What must hold.
    pub title: &'static str,
    /// How many rows violate it.
    pub violations: i64,
    /// The first of them, at most [`ROWS_MAX`].
    pub rows: Vec<Value>,
}

macro_rules! checks {
    ($($scope:ident: $($code:literal)+;)+) => {
        /// Every check there is.
        pub const ALL: &[Check] = &[$($(Check {
            code: $code,
            at_rest: matches!(Scope::$scope, Scope::AtRest),
            sql: include_str!(concat!("../checks/", $code, ".sql")),
        },)+)+];
    };
}

checks! {
    Always: "L3" "L4" "L5" "L6" "L7" "L8" "I1" "I2" "I3" "I4" "I5" "I6" "I7" "I8" "E1" "E2" "E3"
        "E5" "E8" "E9" "E10" "P1" "P2" "P5" "P6" "P8" "P9" "P11" "P12" "P13" "H1" "H2" "M1" "M2"
        "M3" "M4" "M5" "M6" "N2" "A1" "A3" "A4" "F1" "F2" "T1" "S1" "S2" "X1" "X2";
    AtRest: "E4" "E6" "P3" "P4" "D1" "N1" "R1";
}

impl Check {
    /// What must hold, in a sentence.
    #[must_use]
    pub fn title(&self) -> &'static str {
        let first = self.sql.lines().next().unwrap_or_default();
        first.split_once(": ").map_or(first, |(_, title)| title)
    }

    async fn run(&self, conn: &mut PgConnection) -> Result<Outcome, sqlx::Error> {
        let (violations, rows) = store::violations(conn, self.sql).await?;
        Ok(Outcome {
            code: self.code,
            title: self.title(),
            violations,
            rows,
        })
    }
}

/// Runs the checks of a scope on one snapshot of the database, so that they judge one state. Two
/// run at a time: each is one statement of one process of the server.
///
/// # Errors
/// The database's.
pub async fn run(pool: &PgPool, scope: Scope) -> Result<Vec<Outcome>, sqlx::Error> {
    let mut first = store::begin(pool).await?;
    let mut second = store::begin_beside(pool, &mut first).await?;
    let next = AtomicUsize::new(0);
    let checks: Vec<&Check> = in_scope(scope).collect();
    let (one, other) = tokio::try_join!(
        take_turns(&mut first, &checks, &next),
        take_turns(&mut second, &checks, &next),
    )?;
    second.rollback().await?;
    first.rollback().await?;
    let mut outcomes: Vec<(usize, Outcome)> = one.into_iter().chain(other).collect();
    outcomes.sort_by_key(|(nth, _)| *nth);
    Ok(outcomes.into_iter().map(|(_, outcome)| outcome).collect())
}

/// Runs the next check that nobody has taken, until none is left.
async fn take_turns(
    conn: &mut PgConnection,
    checks: &[&Check],
    next: &AtomicUsize,
) -> Result<Vec<(usize, Outcome)>, sqlx::Error> {
    let mut outcomes = Vec::new();
    loop {
        let nth = next.fetch_add(1, Ordering::Relaxed);
        let Some(check) = checks.get(nth) else {
            return Ok(outcomes);
        };
        outcomes.push((nth, check.run(conn).await?));
    }
}

/// What one check found, and when.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// What it found.
    pub outcome: Outcome,
    /// When it began to look.
    pub checked_at: DateTime<Utc>,
    /// How long it looked.
    pub took: Duration,
}

/// Runs one check beside people at work: on a snapshot of its own, which is given back as soon as
/// it has looked, by one process of the server, and for a bounded time. It waits for nobody's lock
/// for long.
///
/// # Errors
/// The database's, and its bounds.
pub async fn judge(
    pool: &PgPool,
    check: &Check,
    now: DateTime<Utc>,
) -> Result<Judged, sqlx::Error> {
    let mut tx = store::begin_bounded(pool).await?;
    let began = Instant::now();
    let outcome = check.run(&mut tx).await?;
    tx.rollback().await?;
    Ok(Judged {
        outcome,
        checked_at: now,
        took: began.elapsed(),
    })
}

/// The checks of a scope.
pub fn in_scope(scope: Scope) -> impl Iterator<Item = &'static Check> {
    let is_in = move |check: &&Check| scope == Scope::AtRest || !check.at_rest;
    ALL.iter().filter(is_in)
}

/// Runs the checks of a scope as a transaction sees the database.
///
/// # Errors
/// The database's.
pub async fn run_in(conn: &mut PgConnection, scope: Scope) -> Result<Vec<Outcome>, sqlx::Error> {
    let mut outcomes = Vec::new();
    for check in in_scope(scope) {
        outcomes.push(check.run(conn).await?);
    }
    Ok(outcomes)
}

impl Outcome {
    /// Whether nothing violates it.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.violations == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_statement_opens_with_its_code_and_what_must_hold() {
        for check in ALL {
            let head = format!("-- {}: ", check.code);
            assert!(
                check.sql.starts_with(&head),
                "{}.sql must open with `{head}…`",
                check.code
            );
            assert!(check.title().len() > 10, "{}", check.code);
            assert!(
                !check.sql.contains(';'),
                "{}: one statement, no semicolon",
                check.code
            );
        }
    }

    #[test]
    fn every_file_is_listed_once() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/checks");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        let mut listed: Vec<String> = ALL
            .iter()
            .map(|check| format!("{}.sql", check.code))
            .collect();
        files.sort();
        listed.sort();

        assert_eq!(files, listed);
    }
}
