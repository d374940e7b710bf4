//! The sample that is made up here: accounts by the thousand, written as sets.
//!
//! A chunk of customers is one unit of work, through the same commands and with the same events as
//! whatever people send. Since a customer's figures depend on its number alone, a run that was
//! killed goes on with the chunks that are missing, and a larger number of accounts adds the rest.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use billing::account;
use billing::import::opening::{self, OpeningError};
use billing::usage::{self, UsageError};
use chrono::{DateTime, NaiveDate, Utc};
use outbox::{Origin, Outbox, UnitOfWork};
use tokio::sync::mpsc::{self, Sender};
use tokio::task::JoinSet;

use crate::BadInput;
use crate::close::refuse_not_ended;
use crate::progress::Stage;

mod cloud;
mod random;

use self::cloud::Cloud;
pub(crate) use self::cloud::FIRST_MONTH;

/// Customers per unit of work: enough that a commit costs little, and few enough that the largest
/// ones do not fill memory. Numbers are cut at its multiples, whatever was asked for, so that the
/// last customer of a chunk stands for all before it.
///
/// COPY makes a slot for each of the first thousand rows of a table that it is handed, with a chunk
/// of a thousand customers for nearly every row: chunks of four thousand are a tenth faster.
const CHUNK: u64 = 4_000;
/// Units of work at once: one is written while the next is made.
const PARALLEL: usize = 3;
/// How often a chunk is tried when other transactions are in its way.
const TRIES: u32 = 5;

/// What is to be there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) accounts: u64,
    pub(crate) seed: u64,
    /// The month that they begin in, or a later one, of which their usage is recorded.
    pub(crate) month: NaiveDate,
}

/// What was made of it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sampled {
    pub(crate) accounts: u64,
    /// Accounts that this run opened.
    pub(crate) new: u64,
    pub(crate) took: Duration,
}

/// Adds what is missing of the cloud sample, in transactions of its own.
pub(crate) async fn run(outbox: &Outbox, wanted: Wanted, origin: &Origin) -> Result<Sampled> {
    let stage = Stage::begin("import", "accounts");
    let maker = Arc::new(Maker {
        outbox: outbox.clone(),
        cloud: catalogued(outbox, wanted, origin).await?,
        origin: origin.clone(),
        wanted,
        now: outbox::clock::now(),
        next_chunk: AtomicU64::new(0),
    });
    let mut makers = JoinSet::new();
    let (report, mut done) = mpsc::channel(PARALLEL);
    for _ in 0..PARALLEL {
        makers.spawn(Arc::clone(&maker).work(report.clone()));
    }
    drop(report);
    let (mut there, mut new) = (0, 0);
    while let Some(chunk) = done.recv().await {
        (there, new) = (there + chunk.accounts, new + chunk.new);
        stage.at(there, wanted.accounts);
    }
    while let Some(ended) = makers.join_next().await {
        ended?.map_err(|error| advised(error, wanted))?;
    }
    let took = stage.end(&outcome(wanted, new));
    Ok(Sampled {
        accounts: wanted.accounts,
        new,
        took,
    })
}

/// Adds all of it in a transaction that will be rolled back.
pub(crate) async fn within(tx: &mut UnitOfWork, wanted: Wanted, now: DateTime<Utc>) -> Result<()> {
    let stage = Stage::begin("import", "accounts");
    let prices = billing::price::create_all(tx, &cloud::price_list()?, now).await?;
    let cloud = Cloud::new(wanted.seed, prices)?;
    let mut new = 0;
    for chunk in 0..wanted.accounts.div_ceil(CHUNK) {
        new += write(tx, &cloud, (wanted, chunk), now).await?;
        stage.at(wanted.accounts.min((chunk + 1) * CHUNK), wanted.accounts);
    }
    stage.end(&outcome(wanted, new));
    Ok(())
}

async fn catalogued(outbox: &Outbox, wanted: Wanted, origin: &Origin) -> Result<Cloud> {
    let mut tx = outbox.begin(origin.clone()).await?;
    let now = outbox::clock::now();
    let prices = billing::price::create_all(&mut tx, &cloud::price_list()?, now).await?;
    tx.commit().await?;
    Cloud::new(wanted.seed, prices)
}

/// The numbers of a chunk's customers.
fn numbers(wanted: Wanted, chunk: u64) -> std::ops::Range<u64> {
    chunk * CHUNK..wanted.accounts.min((chunk + 1) * CHUNK)
}

/// One chunk that is there now.
struct Chunk {
    accounts: u64,
    new: u64,
}

/// Why a chunk was not written.
#[derive(Debug, thiserror::Error)]
enum ChunkError {
    #[error("could not open accounts of the sample")]
    Open(#[from] OpeningError),
    #[error("could not find accounts of the sample")]
    Find(#[from] account::AccountError),
    #[error("could not record usage of the sample")]
    Usage(#[from] UsageError),
    #[error("account {0:?} of the sample is not there")]
    Absent(String),
    #[error("could not begin a chunk of the sample")]
    Database(#[from] sqlx::Error),
    #[error("could not commit a chunk of the sample")]
    Commit(#[from] outbox::CommitError),
}

impl ChunkError {
    /// Whether another transaction was in the way: a serialization failure, a deadlock, or one that
    /// has opened the same account just now.
    fn is_transient(&self) -> bool {
        let mut cause: Option<&(dyn Error + 'static)> = Some(self);
        while let Some(error) = cause {
            let database = error
                .downcast_ref::<sqlx::Error>()
                .and_then(sqlx::Error::as_database_error);
            if let Some(code) = database.and_then(|error| error.code()) {
                return ["40001", "40P01", "23505"].contains(&code.as_ref());
            }
            cause = error.source();
        }
        false
    }
}

/// What several tasks share who write chunks.
struct Maker {
    outbox: Outbox,
    cloud: Cloud,
    origin: Origin,
    wanted: Wanted,
    now: DateTime<Utc>,
    next_chunk: AtomicU64,
}

impl Maker {
    /// Writes chunks until none is left, or the one who wants to know of them is gone.
    async fn work(self: Arc<Self>, report: Sender<Chunk>) -> Result<(), ChunkError> {
        loop {
            let nth = self.next_chunk.fetch_add(1, Ordering::Relaxed);
            let accounts = numbers(self.wanted, nth).count() as u64;
            if accounts == 0 {
                return Ok(());
            }
            let written = self.chunk(nth).await;
            if written.is_err() {
                self.next_chunk.store(u64::MAX / 2, Ordering::Relaxed);
            }
            let new = written?;
            if report.send(Chunk { accounts, new }).await.is_err() {
                return Ok(());
            }
        }
    }

    async fn chunk(&self, nth: u64) -> Result<u64, ChunkError> {
        let mut tries = 1;
        loop {
            match self.try_chunk(nth).await {
                Err(error) if error.is_transient() && tries < TRIES => tries += 1,
                outcome => return outcome,
            }
        }
    }

    async fn try_chunk(&self, nth: u64) -> Result<u64, ChunkError> {
        let mut tx = self.outbox.begin(self.origin.clone()).await?;
        let new = write(&mut tx, &self.cloud, (self.wanted, nth), self.now).await?;
        tx.commit().await?;
        Ok(new)
    }
}

/// Writes what is missing of a chunk; answers how many accounts were.
async fn write(
    tx: &mut UnitOfWork,
    cloud: &Cloud,
    (wanted, nth): (Wanted, u64),
    now: DateTime<Utc>,
) -> Result<u64, ChunkError> {
    let numbers = numbers(wanted, nth);
    let last = cloud.external_id(numbers.end - 1);
    let is_there = account::by_external_id(tx, &last).await?.is_some();
    match (wanted.month == FIRST_MONTH, is_there) {
        (true, true) => Ok(0),
        (true, false) => {
            let openings = numbers.map(|number| cloud.opening(number)).collect();
            Ok(opening::open_all(tx, openings, FIRST_MONTH, now).await? as u64)
        }
        (false, true) => record(tx, cloud, (wanted, nth), now).await.map(|()| 0),
        (false, false) => Err(ChunkError::Absent(last)),
    }
}

/// Records the usage of a later month. Repeated, it changes nothing.
async fn record(
    tx: &mut UnitOfWork,
    cloud: &Cloud,
    (wanted, nth): (Wanted, u64),
    now: DateTime<Utc>,
) -> Result<(), ChunkError> {
    let users = numbers(wanted, nth).filter_map(|number| cloud.user(number, wanted.month));
    let users: Vec<_> = users.collect();
    let accounts: Vec<_> = users.iter().map(|user| user.account.clone()).collect();
    let accounts = account::create_all(tx, &accounts, now).await?;
    // Both are in the order of their external ids.
    let events = users.iter().zip(accounts);
    let events: Vec<_> = events
        .flat_map(|(user, account)| user.usage(account.account_id))
        .collect();
    usage::record(tx, &events).await?;
    Ok(())
}

fn outcome(wanted: Wanted, new: u64) -> String {
    let Wanted {
        accounts,
        seed,
        month,
    } = wanted;
    let month = month.format("%Y-%m");
    format!("the cloud sample of seed {seed}, {month}: {accounts} accounts ({new} new)")
}

fn advised(error: ChunkError, wanted: Wanted) -> anyhow::Error {
    if let ChunkError::Absent(_) = error {
        let first = FIRST_MONTH.format("%Y-%m");
        let text = format!(
            "{error}: its accounts begin in {first}, so close that month first, with \
             --period {first} --accounts {}",
            wanted.accounts
        );
        return BadInput(text).into();
    }
    anyhow::Error::new(error).context("the import stopped; run again to go on")
}

/// The month that was asked for. Nobody has used anything yet in one that has not ended anywhere.
pub(crate) fn month(period: Option<NaiveDate>) -> Result<NaiveDate> {
    let month = period.unwrap_or(FIRST_MONTH);
    if month < FIRST_MONTH {
        let first = FIRST_MONTH.format("%Y-%m");
        let text = format!("the cloud sample begins in {first}: name that month or a later one");
        return Err(BadInput(text).into());
    }
    refuse_not_ended(month)?;
    Ok(month)
}
