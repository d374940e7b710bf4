//! Settling: what a call or a look-up told is recorded once, with its movements in the books.

use chrono::{DateTime, Utc};
use outbox::{Locked, NewEvent, UnitOfWork, failpoint};
use serde_json::json;
use uuid::Uuid;

use super::RefundError;
use super::store::{self, Known};
use crate::account;
use crate::credit::{self, transfer};
use crate::gateway::{self, RefundVerdict};
use crate::ids::RefundId;
use crate::ledger::{self, Book};
use crate::money::Money;

/// What is known of a refund after a call or a look-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The gateway told what became of it.
    Verdict(RefundVerdict),
    /// Nobody knows; why. It will be asked for.
    Unknown(String),
}

/// Records outcomes. Of a refund that has ended nothing changes, so repeating is harmless.
///
/// # Errors
/// [`RefundError`]; the unit of work is then of no more use.
pub async fn settle_all(
    tx: &mut UnitOfWork,
    outcomes: &[(RefundId, Outcome)],
    now: DateTime<Utc>,
) -> Result<(), RefundError> {
    let ids: Vec<RefundId> = outcomes.iter().map(|(refund, _)| *refund).collect();
    let accounts = store::accounts(tx, &ids).await?;
    let locks = account::lock_all(tx, &accounts).await?;
    for (refund, outcome) in outcomes {
        // Each is read after the one before was written: two may be of one payment.
        let known = store::open(tx, *refund).await?;
        let lock = known.as_ref().and_then(|known| locks.get(&known.account));
        if let (Some(known), Some(locked)) = (&known, lock) {
            settle(tx, (*locked, known), outcome, now).await?;
            failpoint!("refund.settled")?;
        }
    }
    Ok(())
}

async fn settle(
    tx: &mut UnitOfWork,
    (locked, known): (Locked, &Known),
    outcome: &Outcome,
    now: DateTime<Utc>,
) -> Result<(), RefundError> {
    match outcome {
        Outcome::Verdict(RefundVerdict::GivenBack { gateway_ref, money })
            if *money == known.money =>
        {
            give_back(tx, (locked, known), Some(gateway_ref), now).await
        }
        Outcome::Verdict(RefundVerdict::GivenBack { money, .. }) => {
            let why = format!("the gateway says that it gave back {money}");
            ask_later(tx, (locked, known), &why, now).await
        }
        Outcome::Verdict(RefundVerdict::Declined(why)) => {
            store::decline(tx, known.refund, why, now).await?;
            let payload = json!({
                "refund_id": known.refund,
                "payment_id": known.payment,
                "account_id": known.account,
                "currency": known.money.currency(),
                "amount_minor": known.money.minor(),
                "why": why,
            });
            tx.append(locked, NewEvent::new("refund.declined", 1, payload));
            Ok(())
        }
        Outcome::Unknown(why) => ask_later(tx, (locked, known), why, now).await,
    }
}

/// A refund of money that came by hand has no gateway to wait for.
pub(super) async fn by_hand(
    tx: &mut UnitOfWork,
    refund: RefundId,
    now: DateTime<Utc>,
) -> Result<(), RefundError> {
    let Some(known) = store::open(tx, refund).await? else {
        return Ok(());
    };
    let locks = account::lock_all(tx, &[known.account]).await?;
    match locks.get(&known.account) {
        Some(locked) => give_back(tx, (*locked, &known), None, now).await,
        None => Ok(()),
    }
}

/// First what is left of the payment in the customer's credit, then at the house's expense.
async fn give_back(
    tx: &mut UnitOfWork,
    (locked, known): (Locked, &Known),
    gateway_ref: Option<&str>,
    now: DateTime<Utc>,
) -> Result<(), RefundError> {
    let credits = credit::balances(tx, &[known.account]).await?;
    let balance = credits.get(&known.account);
    let balance = balance.filter(|balance| balance.currency() == known.money.currency());
    let balance = balance.map_or(0, |balance| balance.minor());
    let from_credit = known.money.minor().min(known.excess).min(balance).max(0);
    let from_credit = Money::new(from_credit, known.money.currency());
    let payload = json!({
        "refund_id": known.refund,
        "payment_id": known.payment,
        "account_id": known.account,
        "currency": known.money.currency(),
        "amount_minor": known.money.minor(),
        "credit_minor": from_credit.minor(),
        "gateway_ref": gateway_ref,
    });
    let event = NewEvent::new("refund.succeeded", 1, payload);
    let end = (from_credit, gateway_ref, event.event_id);
    store::succeed(tx, known.refund, end, now).await?;
    tx.append(locked, event);
    post(tx, known, from_credit, now).await
}

async fn post(
    tx: &mut UnitOfWork,
    known: &Known,
    from_credit: Money,
    now: DateTime<Utc>,
) -> Result<(), RefundError> {
    let from = if known.is_by_hand {
        Book::Bank
    } else {
        Book::Cash
    };
    let id = Uuid::from(known.refund);
    let given = known.money.sub(from_credit)?;
    let parts = [
        ("refund_credit", Book::CustomerCredit, from_credit),
        ("refund", Book::Allowance, given),
    ];
    let transfers: Vec<_> = parts
        .into_iter()
        .filter(|(_, _, money)| !money.is_zero())
        .map(|(kind, book, money)| transfer((kind, id), (book, from), known.account, money))
        .collect();
    ledger::post_all(tx, &transfers, now).await?;
    Ok(())
}

async fn ask_later(
    tx: &mut UnitOfWork,
    (locked, known): (Locked, &Known),
    why: &str,
    now: DateTime<Utc>,
) -> Result<(), RefundError> {
    store::lose_sight(tx, known.refund, why).await?;
    let payload = json!({ "refund_id": known.refund });
    let event = NewEvent::new("refund.unresolved", 1, payload);
    gateway::ask_again(tx, (locked, event), known.look_ups, now);
    Ok(())
}
