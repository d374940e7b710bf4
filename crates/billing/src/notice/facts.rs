//! What notices tell of: frozen figures, and the state of now that decides whether they are told.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use outbox::UnitOfWork;
use uuid::Uuid;

use super::{About, IntendError, Silence, Wanted, store};
use crate::document::{self, FrozenInvoice};
use crate::ids::{AccountId, HoldId, InvoiceId, PaymentId};

/// What one notice tells of.
#[derive(Debug)]
pub(super) enum Fact {
    Invoice {
        invoice: FrozenInvoice,
        standing: Standing,
    },
    Receipt {
        payment: Payment,
        invoice: Option<FrozenInvoice>,
    },
    PaymentFailed {
        payment: Payment,
        invoice: FrozenInvoice,
        standing: Standing,
    },
    Hold {
        hold: Hold,
    },
    Release {
        hold: Hold,
        /// Another reason why the account gets no service.
        held: Option<String>,
        /// Whether the customer was never told of the hold.
        is_untold: bool,
    },
}

/// What a frozen invoice does not say.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    pub(super) state: String,
    /// Frozen, too: the credit that paid a part of it when it became final.
    pub(super) credit_minor: i64,
}

/// A payment that succeeded or was declined; neither ever changes.
#[derive(Debug, Clone)]
pub(super) struct Payment {
    pub(super) payment_id: PaymentId,
    pub(super) invoice_id: Option<InvoiceId>,
    pub(super) currency: String,
    pub(super) amount_minor: i64,
    pub(super) settled_at: DateTime<Utc>,
    pub(super) captured_minor: Option<i64>,
    pub(super) applied_minor: Option<i64>,
    pub(super) decline_code: Option<String>,
    pub(super) decline_is_soft: Option<bool>,
}

/// A hold, open or released.
#[derive(Debug, Clone)]
pub(super) struct Hold {
    pub(super) hold_id: HoldId,
    pub(super) reason: String,
    pub(super) placed_at: DateTime<Utc>,
    pub(super) released_at: Option<DateTime<Utc>>,
}

impl Fact {
    pub(super) fn invoice_id(&self) -> Option<InvoiceId> {
        match self {
            Self::Invoice { invoice, .. } | Self::PaymentFailed { invoice, .. } => {
                Some(invoice.invoice_id)
            }
            Self::Receipt { payment, .. } => payment.invoice_id,
            Self::Hold { .. } | Self::Release { .. } => None,
        }
    }

    /// Why nobody is to be told, if nobody is.
    pub(super) fn silence(&self) -> Option<Silence> {
        let overtaken = |reason: String| Some(Silence::Overtaken(reason));
        match self {
            Self::Invoice { invoice, standing } => match standing.state.as_str() {
                "void" => overtaken("the invoice is void".to_owned()),
                _ if invoice.total.is_zero() => {
                    Some(Silence::Pointless("the invoice's total is zero".to_owned()))
                }
                _ => None,
            },
            Self::PaymentFailed { standing, .. } => match standing.state.as_str() {
                "finalized" => None,
                "written_off" => overtaken("the invoice is written off".to_owned()),
                state => overtaken(format!("the invoice is {state}")),
            },
            Self::Receipt { .. } => None,
            Self::Hold { hold } => hold
                .released_at
                .and_then(|_| overtaken("the hold is released".to_owned())),
            Self::Release {
                held, is_untold, ..
            } => match held {
                Some(reason) => overtaken(format!("the account is held: {reason}")),
                None if *is_untold => overtaken("nobody was told of the hold".to_owned()),
                None => None,
            },
        }
    }
}

/// Reads what the notices tell of; in their order.
pub(super) async fn gather(
    tx: &mut UnitOfWork,
    wanted: &[Wanted],
) -> Result<Vec<Fact>, IntendError> {
    let sources = Sources::read(tx, wanted).await?;
    wanted.iter().map(|wanted| sources.fact(*wanted)).collect()
}

/// What a batch of notices needs, each kind read once.
struct Sources {
    invoices: HashMap<InvoiceId, FrozenInvoice>,
    standings: HashMap<InvoiceId, Standing>,
    payments: HashMap<PaymentId, Payment>,
    holds: HashMap<HoldId, Hold>,
    held: HashMap<AccountId, String>,
    untold: Vec<HoldId>,
}

impl Sources {
    async fn read(tx: &mut UnitOfWork, wanted: &[Wanted]) -> Result<Self, IntendError> {
        let payments = store::payments(tx, &ids(wanted, payment)).await?;
        let mut told = ids(wanted, |wanted| match wanted.about {
            About::Invoice(id) => Some(id),
            _ => None,
        });
        told.sort_unstable();
        told.dedup();
        // Of an invoice that was paid or not nothing but its head is told.
        let mut named: Vec<InvoiceId> =
            payments.values().filter_map(|one| one.invoice_id).collect();
        named.sort_unstable();
        named.dedup();
        named.retain(|id| told.binary_search(id).is_err());
        let mut invoices = document::load_all(tx, &told).await?;
        invoices.extend(document::load_heads(tx, &named).await?);
        let invoice_ids = [told, named].concat();
        let releases = ids(wanted, |wanted| match wanted.about {
            About::Release(id) => Some(id),
            _ => None,
        });
        let released = ids(wanted, |wanted| match wanted.about {
            About::Release(_) => Some(wanted.account),
            _ => None,
        });
        Ok(Self {
            invoices: invoices.into_iter().map(|i| (i.invoice_id, i)).collect(),
            standings: store::standings(tx, &invoice_ids).await?,
            payments,
            holds: store::holds(tx, &ids(wanted, hold)).await?,
            held: store::open_holds(tx, &released).await?,
            untold: store::untold(tx, &releases).await?,
        })
    }

    fn fact(&self, wanted: Wanted) -> Result<Fact, IntendError> {
        Ok(match wanted.about {
            About::Invoice(id) => Fact::Invoice {
                invoice: found("invoice", &self.invoices, id)?,
                standing: found("invoice", &self.standings, id)?,
            },
            About::Receipt(id) => {
                let payment = found("payment", &self.payments, id)?;
                let invoice = payment
                    .invoice_id
                    .map(|id| found("invoice", &self.invoices, id));
                Fact::Receipt {
                    invoice: invoice.transpose()?,
                    payment,
                }
            }
            About::PaymentFailed(id) => {
                let payment = found("payment", &self.payments, id)?;
                let missing = IntendError::Missing {
                    what: "invoice of the payment",
                    id: id.into(),
                };
                let invoice_id = payment.invoice_id.ok_or(missing)?;
                Fact::PaymentFailed {
                    invoice: found("invoice", &self.invoices, invoice_id)?,
                    standing: found("invoice", &self.standings, invoice_id)?,
                    payment,
                }
            }
            About::Hold(id) => Fact::Hold {
                hold: found("hold", &self.holds, id)?,
            },
            About::Release(id) => Fact::Release {
                hold: found("hold", &self.holds, id)?,
                held: self.held.get(&wanted.account).cloned(),
                is_untold: self.untold.contains(&id),
            },
        })
    }
}

fn payment(wanted: &Wanted) -> Option<PaymentId> {
    match wanted.about {
        About::Receipt(id) | About::PaymentFailed(id) => Some(id),
        About::Invoice(_) | About::Hold(_) | About::Release(_) => None,
    }
}

fn hold(wanted: &Wanted) -> Option<HoldId> {
    match wanted.about {
        About::Hold(id) | About::Release(id) => Some(id),
        About::Invoice(_) | About::Receipt(_) | About::PaymentFailed(_) => None,
    }
}

fn ids<I>(wanted: &[Wanted], id: impl Fn(&Wanted) -> Option<I>) -> Vec<I> {
    wanted.iter().filter_map(id).collect()
}

fn found<I, T>(what: &'static str, found: &HashMap<I, T>, id: I) -> Result<T, IntendError>
where
    I: Copy + Eq + std::hash::Hash,
    T: Clone,
    Uuid: From<I>,
{
    found.get(&id).cloned().ok_or(IntendError::Missing {
        what,
        id: id.into(),
    })
}
