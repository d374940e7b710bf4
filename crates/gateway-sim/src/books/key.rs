//! Idempotency keys: the first answer to a key is the answer to it.
//!
//! A key that was used is forgotten after its lifetime and is new again, as with real gateways. A
//! burnt key stays burnt: it fences off a request that may be late by any time. What an error
//! leaves of its key is for the profile to say.

use axum::http::StatusCode;
use rusqlite::OptionalExtension as _;

use super::{Page, Written};
use crate::answer::Answer;
use crate::clock::Moment;
use crate::profile::Profile;

/// What the books say about a key.
pub(super) enum Known {
    /// Never used, or so long ago that it is forgotten.
    Free,
    /// Used or burnt: this is the answer.
    Answered(Written),
}

struct Row {
    operation: String,
    digest: Option<[u8; 32]>,
    status: Option<u16>,
    body: Option<Vec<u8>>,
    created_at: Moment,
}

impl Row {
    fn is_forgotten(&self, now: Moment, profile: &Profile) -> bool {
        let is_known = |lifetime| now.since(self.created_at) < lifetime;
        self.operation != "burnt" && !profile.key_lifetime.is_some_and(is_known)
    }
}

/// Looks the key up for a request with this digest.
pub(super) fn look_up(
    page: &Page<'_>,
    operation: &str,
    key: &str,
    digest: [u8; 32],
) -> rusqlite::Result<Known> {
    if page.rules.profile.throttles && is_first_time(page, "throttled", key)? {
        return Ok(Known::Answered(throttled()));
    }
    let Some(row) = read(page, key)? else {
        let saved = saved_error(page, key)?;
        return Ok(saved.map_or(Known::Free, Known::Answered));
    };
    if row.is_forgotten(page.now, &page.rules.profile) {
        return Ok(Known::Free);
    }
    let same = row.operation == operation && row.digest == Some(digest);
    Ok(Known::Answered(match (row.status, row.body) {
        (Some(status), Some(body)) if same => repeat(status, body),
        (Some(_), _) => Written::refused(
            StatusCode::CONFLICT,
            "key_reused",
            "This key was used for another request; make a new key for a new request.",
        ),
        (None, _) => Written::refused(
            StatusCode::CONFLICT,
            "key_burnt",
            "This key was cancelled before it was used; nothing was charged.",
        ),
    }))
}

fn repeat(status: u16, body: Vec<u8>) -> Written {
    let status = StatusCode::from_u16(status).expect("the books keep statuses that were sent");
    Written::told(Answer { status, body })
}

fn throttled() -> Written {
    let message = "Too many requests; nothing was done. Send the same key again a little later.";
    Written::refused(StatusCode::TOO_MANY_REQUESTS, "throttled", message)
}

fn saved_error(page: &Page<'_>, key: &str) -> rusqlite::Result<Option<Written>> {
    let mut statement = page
        .tx
        .prepare_cached("select status, body from saved_error where key = ?1")?;
    let row = statement.query_row([key], |row| Ok(repeat(row.get(0)?, row.get(1)?)));
    row.optional()
}

/// Makes an error the answer to its key for ever.
pub(super) fn save_error(page: &Page<'_>, key: &str, answer: &Answer) -> rusqlite::Result<()> {
    let mut statement = page
        .tx
        .prepare_cached("insert into saved_error (key, status, body) values (?1, ?2, ?3)")?;
    statement.execute((key, answer.status.as_u16(), &answer.body))?;
    Ok(())
}

fn read(page: &Page<'_>, key: &str) -> rusqlite::Result<Option<Row>> {
    let mut statement = page.tx.prepare_cached(
        "select operation, digest, status, body, created_at from idempotency_key where key = ?1",
    )?;
    let row = statement.query_row([key], |row| {
        Ok(Row {
            operation: row.get(0)?,
            digest: row.get(1)?,
            status: row.get(2)?,
            body: row.get(3)?,
            created_at: row.get(4)?,
        })
    });
    row.optional()
}

/// A first answer, to be kept.
pub(super) struct FirstAnswer<'a> {
    pub(super) operation: &'static str,
    pub(super) digest: [u8; 32],
    pub(super) answer: &'a Answer,
    /// The charge that was made, by its number.
    pub(super) charge: Option<i64>,
    /// Whether the key can be used anew from the beginning; what it was used for stays known.
    pub(super) is_forgotten: bool,
}

/// Keeps the first answer to the key.
pub(super) fn keep(page: &Page<'_>, key: &str, first: &FirstAnswer<'_>) -> rusqlite::Result<()> {
    // A key that was forgotten starts anew.
    let mut statement = page.tx.prepare_cached(
        "insert or replace into idempotency_key
            (key, operation, digest, status, body, charge, created_at)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    let status = first.answer.status.as_u16();
    let since = if first.is_forgotten {
        Moment::FIRST
    } else {
        page.now
    };
    statement.execute((
        key,
        first.operation,
        first.digest,
        status,
        &first.answer.body,
        first.charge,
        since,
    ))?;
    Ok(())
}

/// Burns a key that was never used.
pub(super) fn burn(page: &Page<'_>, key: &str) -> rusqlite::Result<()> {
    let mut statement = page.tx.prepare_cached(
        "insert into idempotency_key (key, operation, created_at) values (?1, 'burnt', ?2)",
    )?;
    statement.execute((key, page.now))?;
    Ok(())
}

/// What a key was used for.
pub(super) enum Use {
    Never,
    Burnt,
    /// For the charge with this number.
    Charge(i64),
    Refund,
}

/// Tells what the key was used for, however long ago.
pub(super) fn used_for(page: &Page<'_>, key: &str) -> rusqlite::Result<Use> {
    let mut statement = page
        .tx
        .prepare_cached("select operation, charge from idempotency_key where key = ?1")?;
    let row = statement.query_row([key], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, Option<i64>>(1)?))
    });
    Ok(match row.optional()? {
        None => Use::Never,
        Some((_, Some(charge))) => Use::Charge(charge),
        Some((operation, None)) if operation == "refund" => Use::Refund,
        Some(_) => Use::Burnt,
    })
}

/// Whether this subject (a kind of behaviour) meets this name for the first time. It is noted.
pub(super) fn is_first_time(page: &Page<'_>, subject: &str, name: &str) -> rusqlite::Result<bool> {
    let mut statement = page
        .tx
        .prepare_cached("insert or ignore into first_time (subject, name) values (?1, ?2)")?;
    Ok(statement.execute((subject, name))? == 1)
}
