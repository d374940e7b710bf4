//! The statement: every movement of money in order, with totals per currency.
//!
//! What a caller compares its own books with. Page by page: the totals are those of the whole span
//! and stand on the first page, so that reading on costs the page alone.

use rusqlite::{Connection, OptionalExtension as _, Row};
use serde::Serialize;

use crate::charge::{charge_id, refund_id};
use crate::clock::Moment;

/// Which movements to show.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StatementQuery {
    /// From this instant.
    pub(crate) from: Moment,
    /// Up to before this instant.
    pub(crate) to: Moment,
    /// After the movement with this number; 0 for the first page.
    pub(crate) after: i64,
    pub(crate) limit: u32,
}

/// A page of the statement.
#[derive(Debug, Serialize)]
pub(crate) struct Statement {
    movements: Vec<Movement>,
    /// On the first page only.
    #[serde(skip_serializing_if = "Option::is_none")]
    totals: Option<Vec<Total>>,
    /// To be given as `after` for the next page, if there is one.
    next_after: Option<i64>,
}

#[derive(Debug, Serialize)]
struct Movement {
    seq: i64,
    at: Moment,
    #[serde(rename = "type")]
    kind: String,
    charge_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    refund_id: Option<String>,
    reference: String,
    amount_minor: i64,
    currency: String,
}

#[derive(Debug, Serialize)]
struct Total {
    currency: String,
    captured_count: i64,
    captured_minor: i64,
    refunded_count: i64,
    refunded_minor: i64,
    net_minor: i64,
}

/// The movements from the first number up to before the second.
#[derive(Debug, Clone, Copy)]
struct Span {
    first: i64,
    end: i64,
}

/// Draws the statement up from one commit of the books.
pub(super) fn draw_up(
    connection: &Connection,
    query: &StatementQuery,
) -> rusqlite::Result<Statement> {
    let tx = connection.unchecked_transaction()?;
    let span = Span {
        first: first_at(&tx, query.from)?,
        end: first_at(&tx, query.to)?,
    };
    let totals = (query.after == 0).then(|| totals(&tx, span)).transpose()?;
    let mut movements = movements(&tx, span, query)?;
    let more = movements.len() > query.limit as usize;
    movements.truncate(query.limit as usize);
    let last = movements.last().map(|movement| movement.seq);
    tx.commit()?;
    Ok(Statement {
        next_after: last.filter(|_| more),
        movements,
        totals,
    })
}

/// The number of the first movement that is not before the instant. Time never decreases with the
/// number, so a span of time is a span of numbers.
fn first_at(connection: &Connection, at: Moment) -> rusqlite::Result<i64> {
    let mut statement = connection
        .prepare_cached("select seq from movement where at >= ?1 order by at, seq limit 1")?;
    let found = statement.query_row([at], |row| row.get(0)).optional()?;
    Ok(found.unwrap_or(i64::MAX))
}

/// One movement more than the page has room for, to tell whether there is another page.
fn movements(
    connection: &Connection,
    span: Span,
    query: &StatementQuery,
) -> rusqlite::Result<Vec<Movement>> {
    let mut statement = connection.prepare_cached(
        "select seq, at, kind, charge, refund, reference, amount_minor, currency
         from movement
         where seq >= ?1 and seq < ?2 and seq > ?3
         order by seq
         limit ?4",
    )?;
    let bounds = (span.first, span.end, query.after, query.limit + 1);
    statement.query_map(bounds, movement)?.collect()
}

fn movement(row: &Row<'_>) -> rusqlite::Result<Movement> {
    Ok(Movement {
        seq: row.get(0)?,
        at: row.get(1)?,
        kind: row.get(2)?,
        charge_id: charge_id(row.get(3)?),
        refund_id: row.get::<_, Option<i64>>(4)?.map(refund_id),
        reference: row.get(5)?,
        amount_minor: row.get(6)?,
        currency: row.get(7)?,
    })
}

fn totals(connection: &Connection, span: Span) -> rusqlite::Result<Vec<Total>> {
    let mut statement = connection.prepare_cached(
        "select currency,
                count(*) filter (where kind = 'captured'),
                coalesce(sum(amount_minor) filter (where kind = 'captured'), 0),
                count(*) filter (where kind = 'refunded'),
                coalesce(sum(amount_minor) filter (where kind = 'refunded'), 0)
         from movement
         where seq >= ?1 and seq < ?2
         group by currency
         order by currency",
    )?;
    let found = statement.query_map((span.first, span.end), |row| {
        let (captured_minor, refunded_minor) = (row.get(2)?, row.get(4)?);
        Ok(Total {
            currency: row.get(0)?,
            captured_count: row.get(1)?,
            captured_minor,
            refunded_count: row.get(3)?,
            refunded_minor,
            net_minor: captured_minor - refunded_minor,
        })
    })?;
    found.collect()
}
