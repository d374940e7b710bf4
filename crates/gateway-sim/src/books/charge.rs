//! Charging: the token decides, the books record, and the first answer is kept with its key.

use axum::http::StatusCode;
use rusqlite::Row;

use super::key::{self, FirstAnswer, Known};
use super::{Page, Written, webhook};
use crate::answer::{Answer, Refusal};
use crate::behaviour::Behaviour;
use crate::charge::{Charge, Decline, Status, charge_id};
use crate::profile::Errors;
use crate::request::{ChargeRequest, Keyed};

/// What the card's issuer says.
enum Verdict {
    Captured {
        amount_minor: i64,
    },
    Declined {
        code: &'static str,
        soft: bool,
    },
    /// The gateway fails before it asks.
    Broken,
    /// The gateway has no time, and says so before it does anything.
    Busy,
}

/// Charges a card, or repeats what was answered to the key.
pub(super) fn charge(page: &Page<'_>, order: &Keyed<ChargeRequest>) -> rusqlite::Result<Written> {
    match key::look_up(page, "charge", &order.key, order.digest)? {
        Known::Answered(written) => return Ok(written),
        Known::Free => {}
    }
    let behaviour = Behaviour::of(&order.request.token);
    let charge = match decide(page, behaviour, order)? {
        Verdict::Captured { amount_minor } => captured(page, &order.request, amount_minor)?,
        Verdict::Declined { code, soft } => declined(page, &order.request, code, soft)?,
        Verdict::Broken => return broken(page, &order.key),
        Verdict::Busy => return Ok(busy()),
    };
    let errors = page.rules.profile.errors;
    let answer = match behaviour {
        Behaviour::UnknownCard => Answer::new(StatusCode::PAYMENT_REQUIRED, &charge.seen),
        Behaviour::TimeoutCharged(_) if errors != Errors::GoOn => Refusal::silent().answer(),
        _ => Answer::new(StatusCode::CREATED, &charge.seen),
    };
    let first = FirstAnswer {
        operation: "charge",
        digest: order.digest,
        answer: &answer,
        charge: Some(charge.number),
        is_forgotten: errors == Errors::Forget && !answer.status.is_success(),
    };
    key::keep(page, &order.key, &first)?;
    let copies = if behaviour == Behaviour::DuplicateWebhook {
        2
    } else {
        1
    };
    let hold = behaviour == Behaviour::EarlyWebhook;
    Ok(Written {
        answer,
        fresh: true,
        webhooks: webhook::announce_charge(page, &charge.seen, copies, hold)?,
    })
}

fn decide(
    page: &Page<'_>,
    behaviour: Behaviour,
    order: &Keyed<ChargeRequest>,
) -> rusqlite::Result<Verdict> {
    let asked = order.request.amount_minor;
    let declined = |code, soft| Verdict::Declined { code, soft };
    Ok(match behaviour {
        Behaviour::Decline => declined("do_not_honor", false),
        Behaviour::UnknownCard => declined("unknown_card", false),
        Behaviour::SoftThenOk if key::is_first_time(page, "token", &order.request.token)? => {
            declined("insufficient_funds", true)
        }
        Behaviour::FailThenOk if key::is_first_time(page, "key", &order.key)? => Verdict::Broken,
        Behaviour::FailOnce if key::is_first_time(page, "token", &order.request.token)? => {
            Verdict::Broken
        }
        Behaviour::BusyThenOk if key::is_first_time(page, "key", &order.key)? => Verdict::Busy,
        Behaviour::WrongAmount => Verdict::Captured {
            amount_minor: asked - asked / 2,
        },
        Behaviour::Approve
        | Behaviour::SoftThenOk
        | Behaviour::FailThenOk
        | Behaviour::FailOnce
        | Behaviour::BusyThenOk
        | Behaviour::TimeoutCharged(_)
        | Behaviour::Slow(_)
        | Behaviour::Late(_)
        | Behaviour::DuplicateWebhook
        | Behaviour::EarlyWebhook => Verdict::Captured {
            amount_minor: asked,
        },
    })
}

/// A charge with its number in the books.
struct Recorded {
    number: i64,
    seen: Charge,
}

fn captured(
    page: &Page<'_>,
    request: &ChargeRequest,
    amount_minor: i64,
) -> rusqlite::Result<Recorded> {
    let recorded = record(page, request, amount_minor, None)?;
    let mut statement = page.tx.prepare_cached(
        "insert into movement (at, kind, charge, reference, amount_minor, currency)
         values (?1, 'captured', ?2, ?3, ?4, ?5)",
    )?;
    statement.execute((
        page.now,
        recorded.number,
        &request.reference,
        amount_minor,
        &request.currency,
    ))?;
    Ok(recorded)
}

fn declined(
    page: &Page<'_>,
    request: &ChargeRequest,
    code: &str,
    soft: bool,
) -> rusqlite::Result<Recorded> {
    let decline = Decline {
        decline_code: code.to_owned(),
        soft,
    };
    record(page, request, request.amount_minor, Some(decline))
}

fn record(
    page: &Page<'_>,
    request: &ChargeRequest,
    amount_minor: i64,
    decline: Option<Decline>,
) -> rusqlite::Result<Recorded> {
    let (status, name) = match decline {
        None => (Status::Captured, "captured"),
        Some(_) => (Status::Declined, "declined"),
    };
    let mut statement = page.tx.prepare_cached(
        "insert into charge
            (reference, status, amount_minor, currency, decline_code, soft, created_at)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    let number = statement.insert((
        &request.reference,
        name,
        amount_minor,
        &request.currency,
        decline.as_ref().map(|decline| &decline.decline_code),
        decline.as_ref().map(|decline| decline.soft),
        page.now,
    ))?;
    let seen = Charge {
        charge_id: charge_id(number),
        reference: request.reference.clone(),
        status,
        amount_minor,
        currency: request.currency.clone(),
        refunded_minor: 0,
        decline,
        created_at: page.now,
    };
    Ok(Recorded { number, seen })
}

fn broken(page: &Page<'_>, key: &str) -> rusqlite::Result<Written> {
    let message = "The gateway failed on purpose before it charged; send the same key again.";
    let written = Written::refused(StatusCode::INTERNAL_SERVER_ERROR, "injected", message);
    if page.rules.profile.errors == Errors::Repeat {
        key::save_error(page, key, &written.answer)?;
    }
    Ok(written)
}

fn busy() -> Written {
    let message = "The gateway is busy and did nothing; send the same key again a little later.";
    Written::refused(StatusCode::SERVICE_UNAVAILABLE, "busy", message)
}

/// A charge as `lookup` selects it.
pub(super) fn from_row(row: &Row<'_>) -> rusqlite::Result<Charge> {
    let decline = match (row.get(5)?, row.get(6)?) {
        (Some(decline_code), Some(soft)) => Some(Decline { decline_code, soft }),
        _ => None,
    };
    Ok(Charge {
        charge_id: charge_id(row.get(0)?),
        reference: row.get(1)?,
        status: match decline {
            None => Status::Captured,
            Some(_) => Status::Declined,
        },
        amount_minor: row.get(2)?,
        currency: row.get(3)?,
        refunded_minor: row.get(4)?,
        decline,
        created_at: row.get(7)?,
    })
}
