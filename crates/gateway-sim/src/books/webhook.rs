//! Webhooks in the books: written with the result that they announce, so that neither is without
//! the other, and kept until they are delivered or given up.

use std::time::Duration;

use axum::http::StatusCode;
use rusqlite::{Connection, OptionalExtension as _};
use serde_json::json;

use super::{Page, Written};
use crate::answer::Answer;
use crate::charge::{Charge, Refund, Status};
use crate::clock::Moment;

/// For so long, the request itself delivers the webhook that must come before its answer.
const HOLD: Duration = Duration::from_secs(15);

/// A message to deliver.
#[derive(Debug, Clone)]
pub(crate) struct Webhook {
    pub(crate) seq: i64,
    pub(crate) body: Vec<u8>,
    /// The attempts so far.
    pub(crate) attempts: u32,
}

/// What became of one attempt to deliver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Delivered,
    /// To be tried again at the instant.
    Retry(Moment),
    /// Given up.
    Dead,
}

pub(super) fn announce_charge(
    page: &Page<'_>,
    charge: &Charge,
    copies: usize,
    hold: bool,
) -> rusqlite::Result<Vec<Webhook>> {
    if !page.rules.announces {
        return Ok(Vec::new());
    }
    let body = json!({
        "event_id": format!("evt_{}", charge.charge_id),
        "type": match charge.status {
            Status::Captured => "charge.captured",
            Status::Declined => "charge.declined",
        },
        "created_at": page.now,
        "data": { "charge": charge },
    });
    let due_at = if hold { page.now.after(HOLD) } else { page.now };
    let body = body.to_string().into_bytes();
    (0..copies).map(|_| queue(page, &body, due_at)).collect()
}

pub(super) fn announce_refund(
    page: &Page<'_>,
    charge: &Charge,
    refund: &Refund,
) -> rusqlite::Result<Vec<Webhook>> {
    if !page.rules.announces {
        return Ok(Vec::new());
    }
    let body = json!({
        "event_id": format!("evt_{}", refund.refund_id),
        "type": "refund.succeeded",
        "created_at": page.now,
        "data": { "charge": charge, "refund": refund },
    });
    Ok(vec![queue(page, &body.to_string().into_bytes(), page.now)?])
}

fn queue(page: &Page<'_>, body: &[u8], due_at: Moment) -> rusqlite::Result<Webhook> {
    let mut statement = page
        .tx
        .prepare_cached("insert into webhook (body, due_at) values (?1, ?2)")?;
    Ok(Webhook {
        seq: statement.insert((body, due_at))?,
        body: body.to_vec(),
        attempts: 0,
    })
}

/// Records an attempt. One that was delivered stays delivered.
pub(super) fn record(page: &Page<'_>, seq: i64, outcome: Outcome) -> rusqlite::Result<Written> {
    let (state, due_at) = match outcome {
        Outcome::Delivered => ("delivered", page.now),
        Outcome::Retry(at) => ("due", at),
        Outcome::Dead => ("dead", page.now),
    };
    let mut statement = page.tx.prepare_cached(
        "update webhook set state = ?2, due_at = ?3, attempts = attempts + 1
         where seq = ?1 and state = 'due'",
    )?;
    statement.execute((seq, state, due_at))?;
    Ok(Written::told(Answer::new(StatusCode::OK, &json!({}))))
}

/// The webhooks due by now, and when the next one after them is.
pub(super) fn due(
    connection: &Connection,
    now: Moment,
    limit: u32,
) -> rusqlite::Result<(Vec<Webhook>, Option<Moment>)> {
    let mut due = connection.prepare_cached(
        "select seq, body, attempts
         from webhook
         where state = 'due' and due_at <= ?1
         order by due_at, seq
         limit ?2",
    )?;
    let found = due.query_map((now, limit), |row| {
        Ok(Webhook {
            seq: row.get(0)?,
            body: row.get(1)?,
            attempts: row.get(2)?,
        })
    })?;
    let found = found.collect::<rusqlite::Result<_>>()?;
    let mut next = connection.prepare_cached(
        "select due_at from webhook where state = 'due' and due_at > ?1 order by due_at limit 1",
    )?;
    Ok((found, next.query_row([now], |row| row.get(0)).optional()?))
}
