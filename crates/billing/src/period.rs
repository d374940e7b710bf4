//! Periods: the months of an account, one after the other without a gap, each to be billed once.
//!
//! Usage of a month joins that month's period while it is open. Once it is closed, or for a month
//! before the account's first one, usage joins the lowest open period after it: nothing is dropped.
//! Whoever adds usage shares the lock of its account, and a close needs that lock alone, so a sum
//! stands still once it was billed. Both take their locks in the order of accounts.
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

/// For each account and month the number of the open period that its usage joins. Periods are
/// created as they are needed, and stay open until the unit of work ends: it shares the lock of
/// their accounts, which a close needs alone.
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
    let standing = store::share(tx, &accounts).await?;
    let is_unknown = |account_id: &&AccountId| !standing.contains(*account_id);
    if let Some(unknown) = accounts.iter().find(is_unknown) {
        return Err(PeriodError::UnknownAccount(*unknown));
    }
    let mut open = store::find_open(tx, wanted).await?;
    let is_absent = |wanted: &&AccountMonth| !open.contains_key(*wanted);
    let absent: BTreeSet<_> = wanted.iter().filter(is_absent).copied().collect();
    if !absent.is_empty() {
        create(tx, &absent).await?;
        open.extend(store::find_open(tx, &absent).await?);
    }
    Ok(open)
}

fn is_month(date: NaiveDate) -> bool {
    date.day() == 1 && YEARS.contains(&date.year())
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

/// An account's last period, which ends although something that the account has goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) account: AccountId,
    pub(crate) seq: i32,
    pub(crate) month: NaiveDate,
    pub(crate) end_at: DateTime<Utc>,
    /// The account's zone of now, in which the next period will end.
    pub(crate) zone: Tz,
}

/// Opens the periods that follow, for accounts that are locked.
pub(crate) async fn open_next(tx: &mut UnitOfWork, ended: &[Ended]) -> Result<(), sqlx::Error> {
    let next: Vec<Period> = ended.iter().map(Ended::next).collect();
    store::insert(tx, &next).await
}

/// Opens the first periods of accounts that were created by this unit of work.
pub(crate) async fn open_first(
    tx: &mut UnitOfWork,
    accounts: impl Iterator<Item = (AccountId, Tz)>,
    month: NaiveDate,
) -> Result<(), PeriodError> {
    if !is_month(month) {
        return Err(PeriodError::NotAMonth(month));
    }
    let first = accounts.map(|(account, zone)| Chain::new(account, zone).next(month));
    let first: Vec<Period> = first.collect();
    Ok(store::insert(tx, &first).await?)
}

impl Ended {
    fn next(&self) -> Period {
        let month = month_after(self.month);
        Period {
            account_id: self.account,
            seq: self.seq + 1,
            month,
            start_at: self.end_at,
            end_at: start_of(month_after(month), self.zone),
            zone: self.zone,
        }
    }
}

/// A period of one account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Period {
    account_id: AccountId,
    seq: i32,
    month: NaiveDate,
    start_at: DateTime<Utc>,
    end_at: DateTime<Utc>,
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
        let start_at = self.last.map(|last| last.end_at);
        Period {
            account_id: self.account_id,
            seq: self.last.map_or(0, |last| last.seq + 1),
            month,
            start_at: start_at.unwrap_or_else(|| start_of(month, self.zone)),
            end_at: start_of(month_after(month), self.zone),
            zone: self.zone,
        }
    }
}
