//! Finding: a check that is violated, told once.
//!
//! It is told when it is found, and again only when more rows violate it than was told of; that it
//! holds again is told, too. So an alarm every hour does not hide the next one. How each check came
//! out last is kept for monitors.
//!
//! Owns `billing.check_result`. Emits `check.violated`, `check.passed`.

mod store;

use std::time::Duration;

use chrono::{DateTime, Utc};
use outbox::{NewEvent, UnitOfWork};
use serde_json::{Value, json};
use sqlx::{PgConnection, PgPool};

use crate::check::{self, Judged, Scope};
use crate::ids::FindingId;

/// Rows are kept and told up to so many bytes: an event has room for them and for little more.
const ROWS_BYTES_MAX: usize = 32 * 1024;

/// What a check's outcome means to who knew the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// It holds, as before.
    Holds,
    /// It is violated, and was not.
    Found,
    /// More rows violate it than was told of.
    More,
    /// It is violated, as was told.
    Known,
    /// It holds again.
    Passed,
    /// Somebody looked later, and noted it earlier: nothing is changed.
    Overtaken,
}

/// A check that is violated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Finding {
    id: FindingId,
    found_at: DateTime<Utc>,
    /// Of how many rows at most was told.
    told: i64,
}

/// How a check came out last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its code.
    pub code: String,
    /// How many rows violate it.
    pub violations: i64,
    /// When it was looked at.
    pub checked_at: DateTime<Utc>,
    /// How long that took.
    pub took: Duration,
}

/// Notes how a check came out, and appends the event that tells of it if that is news.
///
/// # Errors
/// The database's.
pub async fn note(tx: &mut UnitOfWork, judged: &Judged) -> Result<News, sqlx::Error> {
    let code = judged.outcome.code;
    let Some(known) = store::lock(tx, code, judged.checked_at).await? else {
        return Ok(News::Overtaken);
    };
    let news = news(known, judged.outcome.violations);
    let finding = match news {
        News::Found => Some(Finding {
            id: FindingId::new(),
            found_at: judged.checked_at,
            told: judged.outcome.violations,
        }),
        News::More => known.map(|known| Finding {
            told: judged.outcome.violations,
            ..known
        }),
        News::Known => known,
        News::Holds | News::Passed | News::Overtaken => None,
    };
    let rows = Value::from(shown(&judged.outcome.rows));
    store::write(tx, judged, &rows, finding).await?;
    let told = match (news, finding.or(known)) {
        (News::Found | News::More, Some(finding)) => {
            Some((violated(judged, finding, rows), finding))
        }
        (News::Passed, Some(finding)) => Some((passed(judged, finding), finding)),
        _ => None,
    };
    if let Some((event, finding)) = told {
        let locked = tx.locked(finding.id.into());
        tx.append(locked, event);
    }
    Ok(news)
}

fn news(known: Option<Finding>, violations: i64) -> News {
    match known {
        None if violations == 0 => News::Holds,
        None => News::Found,
        Some(_) if violations == 0 => News::Passed,
        Some(known) if violations > known.told => News::More,
        Some(_) => News::Known,
    }
}

/// As many of the rows as there is room for.
fn shown(rows: &[Value]) -> Vec<Value> {
    let mut room = ROWS_BYTES_MAX;
    let fitting = rows.iter().take_while(|row| {
        let size = row.to_string().len();
        let fits = size <= room;
        room = room.saturating_sub(size);
        fits
    });
    fitting.cloned().collect()
}

fn violated(judged: &Judged, finding: Finding, rows: Value) -> NewEvent {
    let payload = json!({
        "finding_id": finding.id,
        "code": judged.outcome.code,
        "title": judged.outcome.title,
        "violations": judged.outcome.violations,
        "rows": rows,
        "found_at": finding.found_at,
        "checked_at": judged.checked_at,
    });
    NewEvent::new("check.violated", 1, payload)
}

fn passed(judged: &Judged, finding: Finding) -> NewEvent {
    let payload = json!({
        "finding_id": finding.id,
        "code": judged.outcome.code,
        "title": judged.outcome.title,
        "found_at": finding.found_at,
        "checked_at": judged.checked_at,
    });
    NewEvent::new("check.passed", 1, payload)
}

/// Whether every check that holds at any moment was looked at since an instant.
///
/// # Errors
/// The database's.
pub async fn is_judged_since(
    connection: &mut PgConnection,
    instant: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let codes = codes();
    let judged = store::judged_since(connection, &codes, instant).await?;
    Ok(usize::try_from(judged) == Ok(codes.len()))
}

/// How the checks that hold at any moment came out last; those that never ran are missing.
///
/// # Errors
/// The database's.
pub async fn standings(pool: &PgPool) -> Result<Vec<Standing>, sqlx::Error> {
    store::standings(pool, &codes()).await
}

fn codes() -> Vec<String> {
    let codes = check::in_scope(Scope::Always).map(|check| check.code.to_owned());
    codes.collect()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn told_of(rows: i64) -> Option<Finding> {
        Some(Finding {
            id: FindingId::from(Uuid::nil()),
            found_at: DateTime::UNIX_EPOCH,
            told: rows,
        })
    }

    #[test]
    fn a_finding_is_told_once_and_again_only_when_it_grows() {
        assert_eq!(news(None, 0), News::Holds);
        assert_eq!(news(None, 3), News::Found);
        assert_eq!(news(told_of(3), 3), News::Known);
        assert_eq!(news(told_of(3), 1), News::Known);
        assert_eq!(news(told_of(3), 4), News::More);
        assert_eq!(news(told_of(3), 0), News::Passed);
    }

    #[test]
    fn rows_are_told_as_far_as_there_is_room() {
        let large = Value::from("x".repeat(ROWS_BYTES_MAX / 2));

        assert_eq!(shown(&[json!({ "id": 1 }), json!({ "id": 2 })]).len(), 2);
        assert_eq!(shown(&[large.clone(), large.clone(), large]).len(), 1);
    }
}
