//! A chunk: some hundred accounts closed in one transaction.

mod charges;
pub(super) mod store;

use std::ops::AddAssign;

use chrono::{DateTime, Utc};
use outbox::{CommitError, Locked, UnitOfWork, failpoint};

use self::charges::Charges;
use self::store::{Obligation, PeriodKey, Periods};
use super::Run;
use crate::ids::AccountId;
use crate::invoice::{self, Draft, FinalizeError, Header, Held};
use crate::period::{self, Ended};

/// What closing a chunk came to. Periods that another closer holds are in none of the counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChunkClosed {
    /// Invoices finalized.
    pub invoices: u64,
    /// Their lines.
    pub lines: u64,
    /// Those of them with a total of zero.
    pub zero: u64,
    /// Periods with nothing to bill.
    pub empty: u64,
    /// Periods listed as exceptions.
    pub exceptions: u64,
}

/// Why a chunk was not closed.
#[derive(Debug, thiserror::Error)]
pub enum CloseError {
    /// The invoices could not be finalized.
    #[error("could not finalize the chunk")]
    Finalize(#[from] FinalizeError),
    /// The unit of work did not commit.
    #[error("could not commit the chunk")]
    Commit(#[from] CommitError),
    /// The database refused.
    #[error("could not close the chunk")]
    Database(#[from] sqlx::Error),
}

/// Periods under lock, sorted by what becomes of them.
#[derive(Default)]
struct Sorted {
    drafts: Vec<(Locked, Draft)>,
    empty: Vec<PeriodKey>,
    failed: Vec<PeriodKey>,
    reasons: Vec<String>,
    /// After which another period is to be billed.
    goes_on: Vec<Ended>,
}

/// Closes the open periods of some accounts, at most a few hundred, that nobody else holds.
///
/// Locks are taken in the order accounts with their periods, balances, number series: the last two
/// when the invoices are finalized. An account that cannot be rated is listed as an exception and
/// stops nobody else.
///
/// # Errors
/// [`CloseError`]; the unit of work is then of no more use.
pub async fn close_chunk(
    tx: &mut UnitOfWork,
    run: &Run,
    accounts: &[AccountId],
    now: DateTime<Utc>,
) -> Result<ChunkClosed, CloseError> {
    store::go_by_index(tx).await?;
    let obligations = store::lock_open(tx, run.month, now, accounts).await?;
    failpoint!("close.locked")?;
    if obligations.is_empty() {
        return Ok(ChunkClosed::default());
    }
    let locked: Periods = obligations.iter().map(Obligation::key).collect();
    let mut charges = charges::read(tx, &locked).await?;
    let mut sorted = Sorted::default();
    for obligation in obligations {
        let charges = charges.remove(&obligation.key());
        sorted.push(obligation, charges);
    }
    let closed = sorted.counts();
    sorted.settle(tx, run).await?;
    failpoint!("close.periods_settled")?;
    invoice::finalize_all(tx, run.closing(now), sorted.drafts).await?;
    Ok(closed)
}

/// Lists an account's open periods as exceptions of a close.
pub(super) async fn except(
    tx: &mut UnitOfWork,
    run: &Run,
    account: AccountId,
    (now, reason): (DateTime<Utc>, String),
) -> Result<ChunkClosed, sqlx::Error> {
    let obligations = store::lock_open(tx, run.month, now, &[account]).await?;
    let failed: Vec<PeriodKey> = obligations.iter().map(Obligation::key).collect();
    let reasons = vec![reason; failed.len()];
    let sorted = Sorted {
        failed,
        reasons,
        ..Sorted::default()
    };
    sorted.settle(tx, run).await?;
    Ok(sorted.counts())
}

impl Obligation {
    /// What ends here although a subscription goes on, unless a later period is there already.
    fn next(&self, charges: &Charges) -> Option<Ended> {
        let Header {
            account,
            period_seq: seq,
            month,
            end_at,
            ..
        } = self.header;
        let goes_on = |held: &Held| held.end_at.is_none_or(|end| end > end_at);
        if !self.is_last || !charges.held.iter().any(goes_on) {
            return None;
        }
        // An account whose zone cannot be read is an exception unless its period has another.
        let zone = self
            .zone
            .parse()
            .or_else(|_| self.header.zone.parse())
            .ok()?;
        Some(Ended {
            account,
            seq,
            month,
            end_at,
            zone,
        })
    }

    fn key(&self) -> PeriodKey {
        (self.header.account, self.header.period_seq)
    }
}

impl Sorted {
    fn push(&mut self, obligation: Obligation, charges: Option<Charges>) {
        let key = obligation.key();
        let Some(charges) = charges else {
            self.empty.push(key);
            return;
        };
        if let Some(price) = charges.missing {
            self.failed.push(key);
            self.reasons
                .push(format!("there is no price {price}: restore it"));
            return;
        }
        let next = obligation.next(&charges);
        match invoice::rate(obligation.header, charges.sums, charges.held) {
            Ok(draft) => {
                self.goes_on.extend(next);
                if draft.lines.is_empty() {
                    self.empty.push(key);
                } else {
                    self.drafts.push((obligation.locked, draft));
                }
            }
            Err(error) => {
                self.failed.push(key);
                self.reasons.push(error.to_string());
            }
        }
    }

    async fn settle(&self, tx: &mut UnitOfWork, run: &Run) -> Result<(), sqlx::Error> {
        let billed = self.drafts.iter().map(|(_, draft)| {
            let header = &draft.header;
            (header.account, header.period_seq)
        });
        let empty = self.empty.iter().copied();
        for (state, periods) in [("billed", billed.collect()), ("empty", empty.collect())] {
            let periods: Periods = periods;
            if !periods.is_empty() {
                store::settle(tx, run.id, state, &periods).await?;
            }
        }
        period::open_next(tx, &self.goes_on).await?;
        let failed: Periods = self.failed.iter().copied().collect();
        if failed.is_empty() {
            return Ok(());
        }
        store::except(tx, run, &failed, &self.reasons).await
    }

    fn counts(&self) -> ChunkClosed {
        let lines: usize = self.drafts.iter().map(|(_, draft)| draft.lines.len()).sum();
        let zero = self
            .drafts
            .iter()
            .filter(|(_, draft)| draft.total.is_zero())
            .count();
        ChunkClosed {
            invoices: self.drafts.len() as u64,
            lines: lines as u64,
            zero: zero as u64,
            empty: self.empty.len() as u64,
            exceptions: self.failed.len() as u64,
        }
    }
}

impl ChunkClosed {
    /// How many periods were dealt with.
    #[must_use]
    pub fn periods(&self) -> u64 {
        self.invoices + self.empty + self.exceptions
    }
}

impl AddAssign for ChunkClosed {
    fn add_assign(&mut self, other: Self) {
        self.invoices += other.invoices;
        self.lines += other.lines;
        self.zero += other.zero;
        self.empty += other.empty;
        self.exceptions += other.exceptions;
    }
}
