//! Deciding: what, if anything, is to be charged for an invoice, from the balance of now.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use outbox::{UnitOfWork, failpoint};
use uuid::Uuid;

use super::store::{self, Facts, NewAttempt, State};
use super::{Attempt, Decision, PaymentError};
use crate::credit;
use crate::ids::{InvoiceId, PaymentId};
use crate::money::Money;
use crate::owed::{self, Owed};

/// Decides for invoices, each wanted by an event; one answer per entry, in their order. Uses credit
/// for what is due before a card is charged.
///
/// # Errors
/// [`PaymentError`]; the unit of work is then of no more use.
pub async fn decide_all(
    tx: &mut UnitOfWork,
    wanted: &[(InvoiceId, Uuid)],
    now: DateTime<Utc>,
) -> Result<Vec<Decision>, PaymentError> {
    let ids: Vec<InvoiceId> = wanted.iter().map(|(invoice, _)| *invoice).collect();
    let mut owed = owed::lock_all(tx, &ids).await?;
    use_credit(tx, &mut owed, now).await?;
    let mut facts = store::facts(tx, &ids).await?;
    let mut new = Vec::new();
    let mut decisions = Vec::with_capacity(wanted.len());
    for (invoice, event) in wanted {
        let decision = match (owed.get(invoice), facts.remove(invoice)) {
            (Some(owed), Some(facts)) => decide(owed, facts, *event, &mut new),
            _ => Decision::Nothing("there is no such invoice any more".to_owned()),
        };
        decisions.push(decision);
    }
    store::insert(tx, &new, now).await?;
    failpoint!("payment.decided")?;
    Ok(decisions)
}

/// Uses each account's credit for its invoice, and lowers what is due by it.
async fn use_credit(
    tx: &mut UnitOfWork,
    owed: &mut HashMap<InvoiceId, Owed>,
    now: DateTime<Utc>,
) -> Result<(), PaymentError> {
    let accounts: Vec<_> = owed
        .values()
        .filter(|owed| !owed.due.is_zero())
        .map(|owed| owed.account)
        .collect();
    if accounts.is_empty() {
        return Ok(());
    }
    let busy = store::with_open_attempt(tx, owed.keys().copied()).await?;
    let mut credits = credit::balances(tx, &accounts).await?;
    let mut uses: Vec<(Owed, Money)> = Vec::new();
    for owed in owed.values_mut() {
        // Money that is under way was decided on with today's due amount.
        if busy.contains(&owed.invoice) {
            continue;
        }
        let Some(credit) = credits.get_mut(&owed.account) else {
            continue;
        };
        let part = smaller(*credit, owed.due);
        if part.is_zero() {
            continue;
        }
        uses.push((owed.clone(), part));
        *credit = credit.sub(part)?;
        owed.due = owed.due.sub(part)?;
    }
    let uses: Vec<(&Owed, Money)> = uses.iter().map(|(owed, part)| (owed, *part)).collect();
    credit::use_all(tx, &uses, now).await?;
    Ok(())
}

fn smaller(a: Money, b: Money) -> Money {
    if a.minor() < b.minor() { a } else { b }
}

fn decide(owed: &Owed, facts: Facts, event: Uuid, new: &mut Vec<NewAttempt>) -> Decision {
    if let Some(open) = facts.open {
        // Its own event comes back after a crash; another one's outcome decides what follows.
        return if open.cause == Some(event) {
            again(open)
        } else {
            nothing("a payment for the invoice is under way")
        };
    }
    if owed.due.minor() <= 0 {
        return nothing("nothing is due any more");
    }
    if facts.is_disputed {
        return nothing("a dispute holds the account");
    }
    let Some(method) = facts.method else {
        return nothing("the account has no payment method");
    };
    let attempt = Attempt {
        payment: PaymentId::new(),
        account: owed.account,
        invoice: owed.invoice,
        gateway: method.gateway,
        token: method.token,
        money: owed.due,
        description: owed.number.clone(),
        sent_at: None,
        deadline: None,
    };
    new.push(NewAttempt {
        attempt: attempt.clone(),
        nth: facts.attempts + 1,
        method: method.id,
        cause: event,
    });
    Decision::Charge(attempt)
}

fn again(open: store::Open) -> Decision {
    match open.state {
        State::Created => Decision::Charge(open.attempt),
        State::Sent | State::Unknown => Decision::Ask(open.attempt),
        State::Manual => nothing("a person has to find out what became of the payment"),
        State::Final => nothing("the payment has ended"),
    }
}

fn nothing(why: &str) -> Decision {
    Decision::Nothing(why.to_owned())
}

/// What is to be done about payments that were under way; one answer per entry, in their order.
///
/// # Errors
/// [`PaymentError`]; the unit of work is then of no more use.
pub async fn ask_all(
    tx: &mut UnitOfWork,
    payments: &[PaymentId],
) -> Result<Vec<Decision>, PaymentError> {
    let mut found = store::attempts(tx, payments).await?;
    let decisions = payments.iter().map(|payment| match found.remove(payment) {
        Some(open) => again(open),
        None => nothing("there is no such payment"),
    });
    Ok(decisions.collect())
}
