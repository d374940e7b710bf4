//! Dunning: what happens to an invoice whose payment was declined.
//!
//! A policy is a ladder: retries on certain days after the first decline, and a hold at its end; a
//! card that will never pay leads to the hold at once. Every rung reads the world again, and while
//! the outcome of any payment of the account is unknown nobody is held: they may have paid.
//!
//! Owns `billing.dunning`. Emits `payment.wanted` and `dunning.due`, both on time.

mod store;

use chrono::{DateTime, TimeDelta, Utc};
use outbox::{Locked, NewEvent, UnitOfWork, failpoint};
use serde_json::json;
use uuid::Uuid;

use crate::account;
use crate::hold::{self, Reason};
use crate::ids::{AccountId, InvoiceId, PaymentId};

/// How long an escalation waits for an unknown outcome before it looks again.
const UNKNOWN_WAIT: TimeDelta = TimeDelta::hours(1);

/// The rungs for one segment of customers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Name and version; kept with each invoice that began under it.
    pub name: &'static str,
    /// On which days after the first decline the charge is tried again.
    pub retry_days: &'static [i64],
}

/// What customers meet unless something else was agreed.
pub const STANDARD: Policy = Policy {
    name: "standard 1",
    retry_days: &[3, 5, 7],
};

/// A payment that was declined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Declined {
    /// Which.
    pub payment: PaymentId,
    /// Whose.
    pub account: AccountId,
    /// For which invoice.
    pub invoice: InvoiceId,
    /// Whether the same card may pay later.
    pub is_soft: bool,
}

/// The next rung.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rung {
    RetryAt(DateTime<Utc>),
    Hold,
}

impl Policy {
    /// After so many retries since the first decline.
    fn next(&self, opened_at: DateTime<Utc>, retries: usize, is_soft: bool) -> Rung {
        match self.retry_days.get(retries) {
            Some(days) if is_soft => Rung::RetryAt(opened_at + TimeDelta::days(*days)),
            _ => Rung::Hold,
        }
    }
}

/// An invoice in dunning as it stands.
struct Standing {
    opened_at: DateTime<Utc>,
    retries: usize,
    /// Whether the outcome of a payment of the account is unknown.
    is_unsure: bool,
}

/// Climbs the next rung after each of these declines, which are of different accounts. Answers, in
/// their order, why there was nothing to do, if so.
///
/// # Errors
/// The database's.
pub async fn escalate_all(
    tx: &mut UnitOfWork,
    declined: &[Declined],
    now: DateTime<Utc>,
) -> Result<Vec<Option<String>>, sqlx::Error> {
    let accounts: Vec<AccountId> = declined.iter().map(|one| one.account).collect();
    let locks = account::lock_all(tx, &accounts).await?;
    let invoices: Vec<InvoiceId> = declined.iter().map(|one| one.invoice).collect();
    let owed = store::owed(tx, &invoices).await?;
    let why_not = |one: &Declined| match locks.contains_key(&one.account) {
        false => Some("the account is not there".to_owned()),
        true if owed.contains(&one.invoice) => None,
        true => Some("the invoice was paid meanwhile".to_owned()),
    };
    let answers: Vec<Option<String>> = declined.iter().map(why_not).collect();
    let climbing = declined.iter().zip(&answers);
    let climbing: Vec<Declined> = climbing
        .filter_map(|(one, why)| why.is_none().then_some(*one))
        .collect();
    store::open(tx, &climbing, STANDARD.name, now).await?;
    let whose: Vec<_> = climbing
        .iter()
        .map(|one| (one.invoice, one.account))
        .collect();
    let standings = store::standings(tx, &whose).await?;
    let mut plans = store::Plans::default();
    for one in &climbing {
        let (locked, standing) = (locks[&one.account], &standings[&one.invoice]);
        let plan = match STANDARD.next(standing.opened_at, standing.retries, one.is_soft) {
            Rung::RetryAt(at) => retry(tx, locked, one.invoice, (standing, at)),
            Rung::Hold => {
                let cause = one.payment.to_string();
                hold(tx, (locked, one.invoice), standing, (&cause, now)).await?
            }
        };
        plans.push(one.invoice, plan);
    }
    store::plan(tx, &plans).await?;
    failpoint!("dunning.climbed")?;
    Ok(answers)
}

/// Climbs the next rung after one decline. Answers why there was nothing to do, if so.
///
/// # Errors
/// The database's.
pub async fn escalate(
    tx: &mut UnitOfWork,
    declined: Declined,
    now: DateTime<Utc>,
) -> Result<Option<String>, sqlx::Error> {
    let mut answers = escalate_all(tx, &[declined], now).await?;
    Ok(answers.pop().flatten())
}

/// Looks again at a hold that waited for an unknown outcome.
///
/// # Errors
/// The database's.
pub async fn look_again(
    tx: &mut UnitOfWork,
    (account, invoice): (AccountId, InvoiceId),
    now: DateTime<Utc>,
) -> Result<Option<String>, sqlx::Error> {
    let Some(locked) = lock(tx, account).await? else {
        return Ok(Some("the account is not there".to_owned()));
    };
    if store::owed(tx, &[invoice]).await?.is_empty() {
        return Ok(Some("the invoice was paid meanwhile".to_owned()));
    }
    let standings = store::standings(tx, &[(invoice, account)]).await?;
    let Some(standing) = standings.get(&invoice) else {
        return Ok(Some("the invoice is not in dunning".to_owned()));
    };
    let cause = invoice.to_string();
    let mut plans = store::Plans::default();
    let plan = hold(tx, (locked, invoice), standing, (&cause, now)).await?;
    plans.push(invoice, plan);
    store::plan(tx, &plans).await?;
    Ok(None)
}

/// Ends the dunning of invoices that were paid, with what was planned for them.
///
/// # Errors
/// The database's.
pub(crate) async fn close_all(
    tx: &mut UnitOfWork,
    invoices: &[InvoiceId],
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    for planned in store::close(tx, invoices, now).await? {
        // One that has fired already finds the invoice paid.
        tx.cancel_timer(planned).await?;
    }
    Ok(())
}

async fn lock(tx: &mut UnitOfWork, account: AccountId) -> Result<Option<Locked>, sqlx::Error> {
    Ok(account::lock_all(tx, &[account]).await?.remove(&account))
}

/// What comes next for an invoice, and how many rungs that is up.
struct Plan {
    state: &'static str,
    timer: Option<Uuid>,
    up: i32,
}

fn retry(
    tx: &mut UnitOfWork,
    locked: Locked,
    invoice: InvoiceId,
    (standing, at): (&Standing, DateTime<Utc>),
) -> Plan {
    let nth = standing.retries + 1;
    let why = format!("retry {nth} of {}", STANDARD.retry_days.len());
    let payload = json!({ "invoice_id": invoice, "why": why });
    let timer = tx.append_at(locked, at, NewEvent::new("payment.wanted", 1, payload));
    Plan {
        state: "retrying",
        timer: Some(timer),
        up: 1,
    }
}

async fn hold(
    tx: &mut UnitOfWork,
    (locked, invoice): (Locked, InvoiceId),
    standing: &Standing,
    (cause, now): (&str, DateTime<Utc>),
) -> Result<Plan, sqlx::Error> {
    if standing.is_unsure {
        let payload = json!({ "invoice_id": invoice, "account_id": locked.key() });
        let event = NewEvent::new("dunning.due", 1, payload);
        let timer = tx.append_at(locked, now + UNKNOWN_WAIT, event);
        return Ok(Plan {
            state: "exhausted",
            timer: Some(timer),
            up: 0,
        });
    }
    hold::place(tx, locked, (Reason::Delinquent, cause), now).await?;
    Ok(Plan {
        state: "held",
        timer: None,
        up: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_soft_decline_is_tried_again_on_the_policys_days_and_then_held() {
        let opened_at = DateTime::UNIX_EPOCH;
        let next = |retries| STANDARD.next(opened_at, retries, true);
        let day = |days| Rung::RetryAt(opened_at + TimeDelta::days(days));

        assert_eq!([next(0), next(1), next(2)], [day(3), day(5), day(7)]);
        assert_eq!(next(3), Rung::Hold);
    }

    #[test]
    fn a_hard_decline_holds_at_once() {
        assert_eq!(STANDARD.next(DateTime::UNIX_EPOCH, 0, false), Rung::Hold);
    }
}
