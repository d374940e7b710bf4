//! Settling: what a call, a look-up or a webhook told is recorded once, in whatever order they
//! come.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use outbox::{Locked, NewEvent, UnitOfWork, failpoint, planted};
use serde_json::{Value, json};
use uuid::Uuid;

use super::PaymentError;
use super::store::{self, Capture, Known, Moved, State};
use crate::account;
use crate::credit::transfer;
use crate::gateway::{self, Verdict};
use crate::ids::{AccountId, InvoiceId, PaymentId};
use crate::ledger::{self, Book, NewTransfer};
use crate::money::Money;
use crate::owed::{self, Owed};

/// What is known of an attempt after a call, a look-up, a webhook or a person's inquiry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The gateway told what became of it.
    Verdict(Verdict),
    /// Nobody knows; why. It will be asked for.
    Unknown(String),
    /// It never happened and never will; why.
    Cancelled(String),
    /// A person has to find out; why.
    HandOver(String),
}

/// Records outcomes. Of a payment that has ended nothing changes, so repeating is harmless.
///
/// # Errors
/// [`PaymentError`]; the unit of work is then of no more use.
pub async fn settle_all(
    tx: &mut UnitOfWork,
    outcomes: &[(PaymentId, Outcome)],
    now: DateTime<Utc>,
) -> Result<(), PaymentError> {
    let ids: Vec<PaymentId> = outcomes.iter().map(|(payment, _)| *payment).collect();
    let accounts = store::accounts(tx, &ids).await?;
    let locks = account::lock_all(tx, &accounts).await?;
    let mut known = store::known(tx, &ids).await?;
    let invoices: Vec<InvoiceId> = known.values().filter_map(|known| known.invoice).collect();
    let owed = owed::read_all(tx, &invoices, &locks).await?;
    let mut settling = Settling {
        owed,
        locks,
        moved: Moved::default(),
        transfers: Vec::new(),
        paid: Vec::new(),
        credited: Vec::new(),
    };
    for (payment, outcome) in outcomes {
        let Some(known) = known.remove(payment) else {
            continue;
        };
        settling.take(tx, &known, outcome, now)?;
    }
    settling.write(tx, now).await
}

/// What a batch of outcomes comes to.
struct Settling {
    owed: HashMap<InvoiceId, Owed>,
    locks: HashMap<AccountId, Locked>,
    moved: Moved,
    transfers: Vec<NewTransfer>,
    paid: Vec<(InvoiceId, Money)>,
    /// Accounts that have more credit than before.
    credited: Vec<Locked>,
}

impl Settling {
    fn take(
        &mut self,
        tx: &mut UnitOfWork,
        known: &Known,
        outcome: &Outcome,
        now: DateTime<Utc>,
    ) -> Result<(), PaymentError> {
        let Some(locked) = self.locks.get(&known.account).copied() else {
            return Ok(());
        };
        if known.state == State::Final && !planted::is("B11") {
            contradict(tx, locked, known, outcome);
            return Ok(());
        }
        match outcome {
            Outcome::Verdict(Verdict::Captured { gateway_ref, money }) => {
                if money.currency() != known.money.currency() {
                    let why = format!("the gateway says that it captured {money}");
                    self.moved.hand_over(known, &why);
                    return Ok(());
                }
                self.capture(tx, locked, known, (gateway_ref, *money))?;
            }
            Outcome::Verdict(Verdict::Declined {
                gateway_ref,
                code,
                is_soft,
            }) => {
                let event = declined_event(known, code, *is_soft);
                let gateway_ref = gateway_ref.as_deref();
                self.moved
                    .decline(known, (gateway_ref, code, *is_soft), event.event_id);
                tx.append(locked, event);
            }
            Outcome::Unknown(why) if known.state != State::Manual => {
                self.moved.unknown(known, why);
                let payload = json!({ "payment_id": known.payment });
                let question = NewEvent::new("payment.unresolved", 1, payload);
                gateway::ask_again(tx, (locked, question), known.look_ups, now);
            }
            Outcome::Cancelled(why) => {
                self.moved.cancel(known, why);
                if let Some(invoice) = known.invoice {
                    owed::want(tx, locked, invoice, "the payment before never happened");
                }
            }
            Outcome::HandOver(why) if known.state != State::Manual => {
                self.moved.hand_over(known, why);
            }
            Outcome::Unknown(_) | Outcome::HandOver(_) => {}
        }
        Ok(())
    }

    fn capture(
        &mut self,
        tx: &mut UnitOfWork,
        locked: Locked,
        known: &Known,
        (gateway_ref, money): (&str, Money),
    ) -> Result<(), PaymentError> {
        let owed = known.invoice.and_then(|invoice| self.owed.get(&invoice));
        let capture = Capture::of(money, owed.map(|owed| owed.due))?;
        let mut payload = succeeded_payload(known, &capture, owed);
        payload["gateway_ref"] = json!(gateway_ref);
        let event = NewEvent::new("payment.succeeded", 1, payload);
        self.moved
            .succeed(known, &capture, gateway_ref, event.event_id);
        tx.append(locked, event);
        let id = Uuid::from(known.payment);
        if let Some(invoice) = known.invoice.filter(|_| !capture.applied.is_zero()) {
            let books = (Book::Cash, Book::Receivable);
            let one = transfer(("payment", id), books, known.account, capture.applied);
            self.transfers.push(one);
            self.paid.push((invoice, capture.applied));
        }
        if !capture.excess.is_zero() {
            let books = (Book::Cash, Book::CustomerCredit);
            let one = transfer(("payment_excess", id), books, known.account, capture.excess);
            self.transfers.push(one);
            tx.append(
                locked,
                excess_event(known.payment, known.account, capture.excess),
            );
            self.credited.push(locked);
        }
        Ok(())
    }

    async fn write(self, tx: &mut UnitOfWork, now: DateTime<Utc>) -> Result<(), PaymentError> {
        self.moved.write(tx, now).await?;
        failpoint!("payment.moved")?;
        ledger::post_all(tx, &self.transfers, now).await?;
        let parts: Vec<(&Owed, Money)> = self
            .paid
            .iter()
            .filter_map(|(invoice, part)| Some((self.owed.get(invoice)?, *part)))
            .collect();
        owed::settle_all(tx, &parts, "paid", now).await?;
        failpoint!("payment.paid")?;
        for locked in self.credited {
            owed::want_open(tx, locked, "a payment left credit").await?;
        }
        Ok(())
    }
}

/// Money that moved though we had been told that it would not: it must not be lost sight of.
fn contradict(tx: &mut UnitOfWork, locked: Locked, known: &Known, outcome: &Outcome) {
    let Outcome::Verdict(Verdict::Captured { gateway_ref, money }) = outcome else {
        return;
    };
    if known.captured.is_some() {
        return;
    }
    tracing::error!(
        payment = %known.payment,
        "The gateway captured {money} for a payment that had ended without: see the reconciliation"
    );
    let payload = json!({
        "payment_id": known.payment,
        "account_id": known.account,
        "currency": money.currency(),
        "captured_minor": money.minor(),
        "gateway_ref": gateway_ref,
    });
    tx.append(locked, NewEvent::new("payment.contradicted", 1, payload));
}

pub(super) fn succeeded_payload(known: &Known, capture: &Capture, owed: Option<&Owed>) -> Value {
    let month = owed.map(|owed| owed.month.format("%Y-%m").to_string());
    json!({
        "payment_id": known.payment,
        "account_id": known.account,
        "invoice_id": known.invoice,
        "month": month,
        "kind": known.kind,
        "currency": capture.money.currency(),
        "asked_minor": known.money.minor(),
        "captured_minor": capture.money.minor(),
        "applied_minor": capture.applied.minor(),
        "gateway": known.gateway,
        "gateway_ref": null,
    })
}

pub(super) fn excess_event(payment: PaymentId, account: AccountId, excess: Money) -> NewEvent {
    let payload = json!({
        "payment_id": payment,
        "account_id": account,
        "currency": excess.currency(),
        "excess_minor": excess.minor(),
    });
    NewEvent::new("payment.overpaid", 1, payload)
}

fn declined_event(known: &Known, code: &str, is_soft: bool) -> NewEvent {
    let payload = json!({
        "payment_id": known.payment,
        "account_id": known.account,
        "invoice_id": known.invoice,
        "currency": known.money.currency(),
        "amount_minor": known.money.minor(),
        "code": code,
        "is_soft": is_soft,
        "attempt": known.nth,
    });
    NewEvent::new("payment.declined", 1, payload)
}
