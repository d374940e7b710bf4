//! Periods: the months of an account, one after the other without a gap, each to be billed once.
//!
//! Usage of a month joins that month's period while it is open. Once it is closed, or for a month
//! before the account's first one, usage joins the lowest open period after it: nothing is dropped.
//! Whoever adds usage holds its period FOR SHARE, and a close holds it FOR UPDATE, so a sum stands
//! still once it was billed. Both lock the accounts first, then the periods, in order.
//!
//! Owns `billing.period`. Reads `billing.account`.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Datelike, Duration, Months, NaiveDate, NaiveTime, TimeZone, Utc};
use chrono_tz::Tz;
use outbox::UnitOfWork;

use crate::ids::AccountId;

mod store;
#[cfg(test)]
mod tests;

/// Usage of one account in one month, named by its first day.
pub type AccountMonth = (AccountId, NaiveDate);

/// The farthest that usage may be ahead of an account's last period, in months: fifty years. Beyond
/// it a year was mistyped.
pub const AHEAD_MAX: usize = 600;
/// The years whose months can be billed.
pub(crate) const YEARS: std::ops::RangeInclusive<i32> = 1970..=2200;
/// How often a close may take the period away between finding and locking it. Each time one more
/// month of the account was closed.
const ATTEMPTS_MAX: usize = 100;

/// Why there is no open period for some usage.
#[derive(Debug, thiserror::Error)]
pub enum PeriodError {
    /// Not the first day of a month from 1970 to 2200.
    #[error("{0} is not the first day of a month between 1970 and 2200")]
    NotAMonth(NaiveDate),
    /// More than [`AHEAD_MAX`] months after the last period.
    #[error("{month} is more than fifty years after the last month of account {account_id}")]
    TooFar {
        /// Whose usage.
        account_id: AccountId,
        /// Of which month.
        month: NaiveDate,
    },
    /// The usage names an account that does not exist.
    #[error("there is no account {0}")]
    UnknownAccount(AccountId),
    /// Closes took the periods away faster than they could be locked.
    #[error("the periods are being closed one after the other; try again")]
    Contended,
    /// The database refused or was lost.
    #[error("could not read or write periods")]
    Database(#[from] sqlx::Error),
}

/// The first instant of a date in a zone: midnight, or the end of the gap where clocks skip it.
#[must_use]
pub fn start_of(date: NaiveDate, zone: Tz) -> DateTime<Utc> {
    let midnight = date.and_time(NaiveTime::MIN);
    // No zone has ever skipped more than a day.
    (0..=24 * 60)
        .find_map(|minute| {
            zone.from_local_datetime(&(midnight + Duration::minutes(minute)))
                .earliest()
        })
        .map_or_else(|| midnight.and_utc(), |first| first.to_utc())
}

/// The month after `month`, both named by their first days.
#[must_use]
pub fn month_after(month: NaiveDate) -> NaiveDate {
    month + Months::new(1)
}

/// For each account and month the number of the open period that its usage joins, held FOR SHARE
/// until the unit of work ends. Periods are created as they are needed.
///
/// # Errors
/// [`PeriodError`]. Nothing was created where a month is refused.
pub async fn ensure_open(
    tx: &mut UnitOfWork,
    wanted: &BTreeSet<AccountMonth>,
) -> Result<BTreeMap<AccountMonth, i32>, PeriodError> {
    if let Some((_, date)) = wanted.iter().find(|(_, date)| !is_month(*date)) {
        return Err(PeriodError::NotAMonth(*date));
    }
    let accounts: BTreeSet<AccountId> = wanted.iter().map(|(account_id, _)| *account_id).collect();
    // The rows of usage will want these locks for their foreign keys: taken after the period's,
    // they would meet a close that holds the account and waits for the period.
    let standing = store::hold_accounts(tx, &accounts).await?;
    if let Some(unknown) = accounts
        .iter()
        .find(|account_id| !standing.contains(*account_id))
    {
        return Err(PeriodError::UnknownAccount(*unknown));
    }
    let mut missing = wanted.clone();
    let mut held = BTreeMap::new();
    for _ in 0..ATTEMPTS_MAX {
        if missing.is_empty() {
            return Ok(held);
        }
        let mut open = store::find_open(tx, &missing).await?;
        let absent: BTreeSet<_> = missing
            .iter()
            .filter(|wanted| !open.contains_key(*wanted))
            .copied()
            .collect();
        if !absent.is_empty() {
            create(tx, &absent).await?;
            open.extend(store::find_open(tx, &absent).await?);
        }
        hold(tx, open, &mut missing, &mut held).await?;
    }
    Err(PeriodError::Contended)
}

fn is_month(date: NaiveDate) -> bool {
    date.day() == 1 && YEARS.contains(&date.year())
}

/// Takes the locks, and only what is still open under its lock: a close may have been faster.
async fn hold(
    tx: &mut UnitOfWork,
    found: BTreeMap<AccountMonth, i32>,
    missing: &mut BTreeSet<AccountMonth>,
    held: &mut BTreeMap<AccountMonth, i32>,
) -> Result<(), PeriodError> {
    let periods = found
        .iter()
        .map(|((account_id, _), seq)| (*account_id, *seq))
        .collect();
    let open = store::hold_open(tx, &periods).await?;
    for (wanted, seq) in found {
        if open.contains(&(wanted.0, seq)) {
            missing.remove(&wanted);
            held.insert(wanted, seq);
        }
    }
    Ok(())
}

/// Creates periods up to what is wanted. The account's lock keeps others from doing the same; it is
/// needed once per account and month.
async fn create(tx: &mut UnitOfWork, wanted: &BTreeSet<AccountMonth>) -> Result<(), PeriodError> {
    let ids: BTreeSet<AccountId> = wanted.iter().map(|(account_id, _)| *account_id).collect();
    let mut accounts = store::lock_accounts(tx, &ids).await?;
    store::read_last(tx, &mut accounts).await?;
    // Found again under the lock: the rival that we waited for may have created it.
    let found = store::find_open(tx, wanted).await?;
    let mut new = Vec::new();
    for (account_id, month) in wanted.iter().filter(|wanted| !found.contains_key(*wanted)) {
        let account = accounts
            .get_mut(account_id)
            .ok_or(PeriodError::UnknownAccount(*account_id))?;
        account.reach(*month, &mut new)?;
    }
    store::insert(tx, &new).await?;
    Ok(())
}

/// A period of one account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Period {
    account_id: AccountId,
    seq: i32,
    month: NaiveDate,
    start_at: DateTime<Utc>,
    end_at: DateTime<Utc>,
    prev_end_at: Option<DateTime<Utc>>,
    zone: Tz,
}

/// An account whose periods are being created.
#[derive(Debug, Clone, Copy)]
struct Chain {
    account_id: AccountId,
    zone: Tz,
    last: Option<Period>,
    /// Whether the last period was added just now, and so is open.
    grown: bool,
}

impl Chain {
    fn new(account_id: AccountId, zone: Tz) -> Self {
        Self {
            account_id,
            zone,
            last: None,
            grown: false,
        }
    }

    /// Adds the periods that usage of `month` lacks, given that none at or after it was open.
    /// Months come in ascending order.
    fn reach(&mut self, month: NaiveDate, new: &mut Vec<Period>) -> Result<(), PeriodError> {
        for _ in 0..AHEAD_MAX {
            if self.grown && self.last.is_some_and(|last| last.month >= month) {
                return Ok(());
            }
            let next = self.next(month);
            new.push(next);
            self.last = Some(next);
            self.grown = true;
        }
        Err(PeriodError::TooFar {
            account_id: self.account_id,
            month,
        })
    }

    /// The period after the last one, or a first one. It begins where the last one ended, also when
    /// the account's zone has changed since.
    fn next(&self, first: NaiveDate) -> Period {
        let month = self.last.map_or(first, |last| month_after(last.month));
        let prev_end_at = self.last.map(|last| last.end_at);
        Period {
            account_id: self.account_id,
            seq: self.last.map_or(0, |last| last.seq + 1),
            month,
            start_at: prev_end_at.unwrap_or_else(|| start_of(month, self.zone)),
            end_at: start_of(month_after(month), self.zone),
            prev_end_at,
            zone: self.zone,
        }
    }
}
