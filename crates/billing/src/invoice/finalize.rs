//! Finalizing: drafts become invoices with everything that belongs to them.

use std::collections::HashMap;

use chrono::{DateTime, SubsecRound, Utc};
use outbox::{Locked, NewEvent, UnitOfWork, failpoint};
use serde_json::json;
use uuid::Uuid;

use super::{Draft, Numbered, SERIES, digest, store, written_number};
use crate::credit::{self, CreditError, Use};
use crate::ids::{AccountId, InvoiceId, RunId};
use crate::ledger::{self, Book, NewTransfer, PostError};
use crate::money::{Money, MoneyError};

/// What the invoices of one close have in common.
#[derive(Debug, Clone, Copy)]
pub struct Closing {
    /// The close.
    pub run: RunId,
    /// The instant for which its figures stand.
    pub as_of: DateTime<Utc>,
    /// The instant of finalizing.
    pub now: DateTime<Utc>,
}

/// Why drafts could not be finalized.
#[derive(Debug, thiserror::Error)]
pub enum FinalizeError {
    /// The ledger refused a transfer.
    #[error("could not post the invoices")]
    Post(#[from] PostError),
    /// The accounts' credit could not be read.
    #[error("could not use credit")]
    Credit(#[from] CreditError),
    /// The one amount without a mirror image, -2^63.
    #[error("could not turn the total around")]
    Money(#[from] MoneyError),
    /// The database refused a row.
    #[error("could not write the invoices")]
    Database(#[from] sqlx::Error),
}

/// Finalizes drafts whose accounts and periods this unit of work has locked.
///
/// The counter of the series is the last lock that it takes: whoever comes next waits for it until
/// this transaction ends, and with any lock after it two closers could wait for each other. So
/// whatever needs no number is written before.
///
/// # Errors
/// [`FinalizeError`]; the unit of work is then of no more use.
pub async fn finalize_all(
    tx: &mut UnitOfWork,
    closing: Closing,
    drafts: Vec<(Locked, Draft)>,
) -> Result<(), FinalizeError> {
    if drafts.is_empty() {
        return Ok(());
    }
    // The tables keep microseconds, and the digest must say what they keep.
    let closing = Closing {
        now: closing.now.trunc_subsecs(6),
        ..closing
    };
    let ids: Vec<InvoiceId> = drafts.iter().map(|_| InvoiceId::new()).collect();
    let uses = uses(tx, &ids, &drafts).await?;
    let mut transfers = transfers(&ids, &drafts)?;
    transfers.extend(uses.iter().map(Use::transfer));
    ledger::post_all(tx, &transfers, closing.now).await?;
    failpoint!("invoice.posted")?;

    let (locks, drafts): (Vec<Locked>, Vec<Draft>) = drafts.into_iter().unzip();
    store::insert_lines(tx, ids.iter().copied().zip(&drafts)).await?;
    let first = store::take_numbers(tx, SERIES, drafts.len()).await?;
    failpoint!("invoice.numbered")?;
    let invoices: Vec<Numbered> = drafts
        .into_iter()
        .zip(ids)
        .zip(first..)
        .map(|((draft, invoice), number)| numbered(closing, draft, invoice, number))
        .collect();
    let invoices = credited(invoices, &uses);
    store::insert(tx, &invoices).await?;
    failpoint!("invoice.written")?;
    credit::write_uses(tx, &uses, closing.now).await?;
    for (locked, invoice) in locks.into_iter().zip(&invoices) {
        tx.append(locked, finalized(invoice));
    }
    Ok(())
}

/// What credit pays of each invoice. The accounts are locked, so it is still there when it is used.
async fn uses(
    tx: &mut UnitOfWork,
    ids: &[InvoiceId],
    drafts: &[(Locked, Draft)],
) -> Result<Vec<Use>, FinalizeError> {
    let accounts: Vec<AccountId> = drafts
        .iter()
        .filter(|(_, draft)| draft.total.minor() > 0)
        .map(|(_, draft)| draft.header.account)
        .collect();
    let mut credits = credit::balances(tx, &accounts).await?;
    let mut uses = Vec::new();
    if credits.is_empty() {
        return Ok(uses);
    }
    for (invoice, (_, draft)) in ids.iter().zip(drafts) {
        let account = draft.header.account;
        let Some(credit) = credits.get_mut(&account) else {
            continue;
        };
        if credit.currency() != draft.currency {
            continue;
        }
        let part = credit.minor().min(draft.total.minor()).max(0);
        if part > 0 {
            let money = Money::new(part, draft.currency);
            *credit = credit.sub(money)?;
            uses.push(Use::new(account, *invoice, money));
        }
    }
    Ok(uses)
}

fn credited(mut invoices: Vec<Numbered>, uses: &[Use]) -> Vec<Numbered> {
    let parts: HashMap<InvoiceId, Money> =
        uses.iter().map(|one| (one.invoice, one.money)).collect();
    for invoice in &mut invoices {
        if let Some(part) = parts.get(&invoice.invoice) {
            invoice.credit = *part;
        }
    }
    invoices
}

/// What the customer owes is a receivable; what the house owes is the customer's credit.
fn transfers(
    ids: &[InvoiceId],
    drafts: &[(Locked, Draft)],
) -> Result<Vec<NewTransfer>, MoneyError> {
    let due = ids
        .iter()
        .zip(drafts)
        .filter(|(_, (_, draft))| !draft.total.is_zero());
    due.map(|(invoice, (_, draft))| {
        let (debit, credit, money) = if draft.total.minor() > 0 {
            (Book::Receivable, Book::Revenue, draft.total)
        } else {
            (Book::Revenue, Book::CustomerCredit, draft.total.neg()?)
        };
        let account = Some(draft.header.account);
        let source_id = Uuid::from(*invoice);
        Ok(NewTransfer {
            source_kind: "invoice",
            source_id,
            debit,
            credit,
            account,
            money,
        })
    })
    .collect()
}

fn numbered(closing: Closing, draft: Draft, invoice: InvoiceId, number: i64) -> Numbered {
    let Closing { run, as_of, now } = closing;
    Numbered {
        invoice,
        event: outbox::ids::new(),
        number,
        run,
        as_of,
        finalized_at: now,
        credit: Money::zero(draft.currency),
        draft,
    }
}

fn finalized(invoice: &Numbered) -> NewEvent {
    let Numbered { draft, number, .. } = invoice;
    let payload = json!({
        "invoice_id": invoice.invoice,
        "account_id": draft.header.account,
        "external_id": draft.header.external_id,
        "number": written_number(SERIES, *number),
        "currency": draft.currency,
        "subtotal_minor": draft.subtotal.minor(),
        "tax_minor": draft.tax.minor(),
        "total_minor": draft.total.minor(),
        "total": draft.total.decimal(),
        "credit_minor": invoice.credit.minor(),
        "lines": draft.lines.len(),
        "state": invoice.state(),
        "month": draft.header.month.format("%Y-%m").to_string(),
        "as_of": invoice.as_of,
    });
    NewEvent {
        event_id: invoice.event,
        ..NewEvent::new("invoice.finalized", 1, payload)
    }
}

impl Numbered {
    pub(super) fn digest(&self) -> [u8; 32] {
        digest::of(self)
    }
}
