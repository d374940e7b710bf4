//! Checks: what must hold at any time, asked of the tables themselves.
//!
//! Each check is a statement in `checks/` that returns the rows which violate it. None leans on the
//! constraint that should prevent its violation, so that they judge a database restored from
//! anywhere. Some hold only at rest: when the relay and the consumers have caught up.
//!
//! Owns nothing. Reads all.

mod store;

use std::sync::atomic::{AtomicUsize, Ordering};

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
        "E5" "E9" "P1" "P2" "P5" "H1" "H2" "M1" "M2" "M3" "M4" "M5" "M6" "A1" "A3" "F1" "T1"
        "X1";
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

fn in_scope(scope: Scope) -> impl Iterator<Item = &'static Check> {
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
