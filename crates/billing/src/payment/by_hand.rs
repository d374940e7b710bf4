//! Money that came past the gateways: a bank transfer, a cheque, cash.

use chrono::{DateTime, Utc};
use outbox::{NewEvent, UnitOfWork, failpoint};
use uuid::Uuid;

use super::PaymentError;
use super::settle::{excess_event, succeeded_payload};
use super::store::{self, Capture, Recorded};
use crate::account;
use crate::credit::transfer;
use crate::ids::{AccountId, InvoiceId, PaymentId};
use crate::ledger::{self, Book};
use crate::money::Money;
use crate::owed;
use crate::text::{self, NOTE_CHARS_MAX};

/// A payment to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ByHand {
    /// Its id, chosen by who records it, so that recording it twice is once.
    pub payment: PaymentId,
    /// Who paid.
    pub account: AccountId,
    /// For which invoice; without one it goes to the account's credit, which pays the oldest.
    pub invoice: Option<InvoiceId>,
    /// How much; above zero, in the account's currency.
    pub money: Money,
    /// How it came, such as the reference on the bank's statement: one line.
    pub note: String,
}

/// Records a payment. What is above the invoice's due amount goes to the account's credit. Told
/// again in the same words, it is answered as it was recorded.
///
/// # Errors
/// [`PaymentError`].
pub async fn record(
    tx: &mut UnitOfWork,
    by_hand: ByHand,
    now: DateTime<Utc>,
) -> Result<Recorded, PaymentError> {
    text::check(&by_hand.note, NOTE_CHARS_MAX).map_err(PaymentError::Note)?;
    if by_hand.money.minor() <= 0 {
        return Err(PaymentError::Amount(by_hand.money));
    }
    let missing = PaymentError::NoAccount(by_hand.account);
    let locks = account::lock_all(tx, &[by_hand.account]).await?;
    let locked = *locks.get(&by_hand.account).ok_or(missing)?;
    if let Some(standing) = store::recorded(tx, &by_hand).await? {
        return Ok(standing);
    }
    refuse_foreign(tx, &by_hand).await?;
    let owed = match by_hand.invoice {
        Some(invoice) => {
            let mut found = owed::read_all(tx, &[invoice], &locks).await?;
            let owed = found.remove(&invoice);
            let owed = owed.filter(|owed| owed.account == by_hand.account);
            Some(owed.ok_or(PaymentError::NoInvoice(invoice))?)
        }
        None => None,
    };
    let capture = Capture::of(by_hand.money, owed.as_ref().map(|owed| owed.due))?;
    let payload = succeeded_payload(&store::Known::by_hand(&by_hand), &capture, owed.as_ref());
    let event = NewEvent::new("payment.succeeded", 1, payload);
    store::insert_by_hand(tx, &by_hand, (&capture, event.event_id), now).await?;
    tx.append(locked, event);
    post(tx, &by_hand, &capture, now).await?;
    failpoint!("payment.by_hand")?;
    if let Some(owed) = owed.as_ref().filter(|_| !capture.applied.is_zero()) {
        owed::settle_all(tx, &[(owed, capture.applied)], "paid by hand", now).await?;
    }
    if !capture.excess.is_zero() {
        if owed.is_some() {
            tx.append(
                locked,
                excess_event(by_hand.payment, by_hand.account, capture.excess),
            );
        }
        owed::want_open(tx, locked, "a payment left credit").await?;
    }
    Ok(Recorded {
        payment: by_hand.payment,
        applied: capture.applied,
        excess: capture.excess,
        is_new: true,
    })
}

async fn refuse_foreign(tx: &mut UnitOfWork, by_hand: &ByHand) -> Result<(), PaymentError> {
    let account = account::currency_of(tx, by_hand.account).await?;
    let payment = by_hand.money.currency();
    if account == payment {
        Ok(())
    } else {
        Err(PaymentError::Currency { account, payment })
    }
}

async fn post(
    tx: &mut UnitOfWork,
    by_hand: &ByHand,
    capture: &Capture,
    now: DateTime<Utc>,
) -> Result<(), PaymentError> {
    let id = Uuid::from(by_hand.payment);
    let parts = [
        ("payment", Book::Receivable, capture.applied),
        ("payment_excess", Book::CustomerCredit, capture.excess),
    ];
    let transfers: Vec<_> = parts
        .into_iter()
        .filter(|(_, _, money)| !money.is_zero())
        .map(|(kind, book, money)| transfer((kind, id), (Book::Bank, book), by_hand.account, money))
        .collect();
    ledger::post_all(tx, &transfers, now).await?;
    Ok(())
}
