//! Refunds: never more than was captured, however many come at once.

use axum::http::StatusCode;
use rusqlite::{OptionalExtension as _, Row};

use super::key::{self, FirstAnswer, Known};
use super::{Page, Written, lookup, webhook};
use crate::answer::Answer;
use crate::charge::{Charge, Refund, Status, charge_id, charge_number, refund_id};
use crate::request::{Keyed, RefundRequest};

/// Gives money back, or repeats what was answered to the key.
pub(super) fn refund(page: &Page<'_>, order: &Keyed<RefundRequest>) -> rusqlite::Result<Written> {
    match key::look_up(page, "refund", &order.key, order.digest)? {
        Known::Answered(written) => return Ok(written),
        Known::Free => {}
    }
    let asked = &order.request;
    let number = charge_number(&asked.charge_id);
    let found = number.map(|number| lookup::charge(page.tx, number).optional());
    let (Some(number), Some(charge)) = (number, found.transpose()?.flatten()) else {
        return Ok(unknown_charge());
    };
    if charge.status != Status::Captured
        || asked.amount_minor > charge.amount_minor - charge.refunded_minor
    {
        return Ok(too_much(&charge));
    }
    give_back(page, order, number)
}

fn give_back(
    page: &Page<'_>,
    order: &Keyed<RefundRequest>,
    charge: i64,
) -> rusqlite::Result<Written> {
    let refunded = lower(page, charge, order.request.amount_minor)?;
    let refund = record(page, &order.request, charge, &refunded)?;
    let answer = Answer::new(StatusCode::CREATED, &refund);
    let first = FirstAnswer {
        operation: "refund",
        digest: order.digest,
        answer: &answer,
        charge: None,
        is_forgotten: false,
    };
    key::keep(page, &order.key, &first)?;
    Ok(Written {
        answer,
        fresh: true,
        webhooks: webhook::announce_refund(page, &refunded, &refund)?,
    })
}

/// Counts the refund with its charge, which the table holds to what was captured.
fn lower(page: &Page<'_>, charge: i64, amount_minor: i64) -> rusqlite::Result<Charge> {
    let mut statement = page.tx.prepare_cached(
        "update charge set refunded_minor = refunded_minor + ?2 where number = ?1",
    )?;
    statement.execute((charge, amount_minor))?;
    lookup::charge(page.tx, charge)
}

fn record(
    page: &Page<'_>,
    request: &RefundRequest,
    charge: i64,
    refunded: &Charge,
) -> rusqlite::Result<Refund> {
    let mut insert = page.tx.prepare_cached(
        "insert into refund (charge, reference, amount_minor, created_at)
         values (?1, ?2, ?3, ?4)",
    )?;
    let row = (charge, &request.reference, request.amount_minor, page.now);
    let number = insert.insert(row)?;
    let mut movement = page.tx.prepare_cached(
        "insert into movement (at, kind, charge, refund, reference, amount_minor, currency)
         values (?1, 'refunded', ?2, ?3, ?4, ?5, ?6)",
    )?;
    movement.execute((
        page.now,
        charge,
        number,
        &request.reference,
        request.amount_minor,
        &refunded.currency,
    ))?;
    Ok(Refund {
        refund_id: refund_id(number),
        charge_id: charge_id(charge),
        reference: request.reference.clone(),
        status: "succeeded",
        amount_minor: request.amount_minor,
        currency: refunded.currency.clone(),
        created_at: page.now,
    })
}

fn unknown_charge() -> Written {
    Written::refused(
        StatusCode::NOT_FOUND,
        "unknown_charge",
        "There is no charge with this id.",
    )
}

fn too_much(charge: &Charge) -> Written {
    let left = match charge.status {
        Status::Captured => charge.amount_minor - charge.refunded_minor,
        Status::Declined => 0,
    };
    let message = format!("Only {left} minor units are left to refund of this charge.");
    Written::refused(
        StatusCode::UNPROCESSABLE_ENTITY,
        "refund_above_captured",
        message,
    )
}

/// A refund as `lookup` selects it.
pub(super) fn from_row(row: &Row<'_>) -> rusqlite::Result<Refund> {
    Ok(Refund {
        refund_id: refund_id(row.get(0)?),
        charge_id: charge_id(row.get(1)?),
        reference: row.get(2)?,
        status: "succeeded",
        amount_minor: row.get(3)?,
        currency: row.get(4)?,
        created_at: row.get(5)?,
    })
}
