//! The driver: a month closed from start to finish, several chunks at once.

use std::error::Error;

use chrono::{DateTime, NaiveDate, Utc};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use outbox::{CommitError, Origin, Outbox, UnitOfWork, failpoint};
use sqlx::PgPool;

use super::chunk::{self, ChunkClosed, CloseError, close_chunk};
use super::figures::{Figures, FiguresError, figures, figures_in};
use super::{FinishError, Run, Scope, StartError, State, settled, store};
use crate::ids::AccountId;

/// How often a chunk is tried when the database was in trouble that passes, such as a deadlock.
const TRIES: u32 = 5;

/// What to close, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// The month, by its first day.
    pub month: NaiveDate,
    /// The instant for which the figures stand; the one of an earlier start wins.
    pub as_of: DateTime<Utc>,
    /// The instant of now: periods that end later are left open.
    pub now: DateTime<Utc>,
    /// How many accounts one transaction closes; at least one.
    pub chunk: u16,
    /// How many transactions run at once; at least one.
    pub parallel: u16,
    /// Who closes, and why.
    pub origin: Origin,
    /// The consumers that have handled everything when the close is settled; nobody is told that
    /// when there are none.
    pub settled_by: Vec<&'static str>,
}

impl Options {
    /// A close in chunks of 500 accounts, two at once.
    #[must_use]
    pub fn new(month: NaiveDate, as_of: DateTime<Utc>, now: DateTime<Utc>, origin: Origin) -> Self {
        Self {
            month,
            as_of,
            now,
            chunk: 500,
            parallel: 2,
            origin,
            settled_by: Vec::new(),
        }
    }
}

/// How far a close has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Periods done by this process: as a rule one for each account.
    pub done: u64,
    /// Periods that were to do when it began; others may do a part of them.
    pub total: u64,
}

/// A month after its close.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// The run; still running if periods of the month end later.
    pub run: Run,
    /// What this execution did.
    pub done: ChunkClosed,
    /// What the month came to, whoever did it.
    pub figures: Figures,
}

/// Why a close stopped. What was committed stays; the next run goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It did not start.
    #[error("the close did not start")]
    Start(#[from] StartError),
    /// A chunk failed for a reason that is not one account's.
    #[error("a chunk of the close failed")]
    Chunk(#[from] CloseError),
    /// It did not finish.
    #[error("the close did not finish")]
    Finish(#[from] FinishError),
    /// It is closed, and its figures cannot be read.
    #[error("the figures of the month cannot be read")]
    Figures(#[from] FiguresError),
    /// Its start or finish was not committed.
    #[error("the close could not be committed")]
    Commit(#[from] CommitError),
    /// The database refused.
    #[error("the close was interrupted")]
    Database(#[from] sqlx::Error),
}

/// Closes a month. Killed at any moment, it can be run again; any number of processes may run it at
/// once. `progress` is called after each chunk.
///
/// # Errors
/// [`RunError`].
pub async fn run(
    outbox: &Outbox,
    options: &Options,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Closed, RunError> {
    let run = start(outbox, options).await?;
    let mut done = ChunkClosed::default();
    if run.state == State::Running {
        let scope = scope(outbox.pool(), options).await?;
        failpoint!("close.scoped")?;
        done = close_all(outbox, (&run, &scope), options, progress).await?;
    }
    let run = finish(outbox, &run, options).await?;
    let figures = figures(outbox.pool(), run.month).await?;
    Ok(Closed { run, done, figures })
}

/// Closes a month inside a transaction that the caller will roll back: the same statements, after
/// whatever the transaction has written before. What only COMMIT checks is not checked.
///
/// # Errors
/// [`RunError`].
pub async fn dry_run(tx: &mut UnitOfWork, options: &Options) -> Result<Closed, RunError> {
    let Options {
        month,
        as_of,
        now,
        chunk,
        ..
    } = *options;
    let run = super::start(tx, month, as_of, now).await?;
    let scope = Scope {
        month,
        now,
        since: store::clock(tx).await?,
    };
    let mut done = ChunkClosed::default();
    let mut cursor = None;
    loop {
        let accounts = store::accounts_after(tx, &scope, cursor, chunk.max(1).into()).await?;
        let Some(last) = accounts.last() else { break };
        cursor = Some(*last);
        done += close_chunk(tx, &run, &accounts, now).await?;
    }
    let run = super::finish(tx, &run, now).await?;
    let figures = figures_in(tx, month).await?;
    Ok(Closed { run, done, figures })
}

async fn start(outbox: &Outbox, options: &Options) -> Result<Run, RunError> {
    let origin = match options.settled_by.is_empty() {
        true => options.origin.clone(),
        false => options.origin.clone().bulk(),
    };
    let mut tx = outbox.begin(origin).await?;
    let run = super::start(&mut tx, options.month, options.as_of, options.now).await?;
    let run = settled::watch(&mut tx, run, &options.settled_by).await?;
    failpoint!("close.started")?;
    tx.commit().await?;
    Ok(run)
}

async fn finish(outbox: &Outbox, run: &Run, options: &Options) -> Result<Run, RunError> {
    let mut tx = outbox.begin(run.origin(&options.origin)).await?;
    let run = super::finish(&mut tx, run, options.now).await?;
    failpoint!("close.finished")?;
    tx.commit().await?;
    Ok(run)
}

async fn scope(pool: &PgPool, options: &Options) -> Result<Scope, sqlx::Error> {
    let mut conn = pool.acquire().await?;
    let since = store::clock(&mut conn).await?;
    Ok(Scope {
        month: options.month,
        now: options.now,
        since,
    })
}

/// Passes over the open accounts until none is left. One that another closer holds is left out of
/// a pass; before the next pass its lock is waited for.
async fn close_all(
    outbox: &Outbox,
    (run, scope): (&Run, &Scope),
    options: &Options,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<ChunkClosed, RunError> {
    let mut conn = outbox.pool().acquire().await?;
    let total = store::count(&mut conn, scope).await?;
    drop(conn);
    let mut done = ChunkClosed::default();
    loop {
        let mut chunks = chunks(outbox.pool(), scope, options.chunk.max(1))
            .map_err(CloseError::from)
            .map_ok(|accounts| async move { close_accounts(outbox, run, &accounts, options).await })
            .try_buffer_unordered(options.parallel.max(1).into())
            .boxed();
        while let Some(closed) = chunks.try_next().await? {
            done += closed;
            progress(Progress {
                done: done.periods(),
                total,
            });
        }
        if !wait_for_others(outbox, scope, options).await? {
            return Ok(done);
        }
    }
}

/// The open accounts of a month, a chunk at a time.
fn chunks(
    pool: &PgPool,
    scope: &Scope,
    limit: u16,
) -> impl Stream<Item = Result<Vec<AccountId>, sqlx::Error>> {
    stream::try_unfold(None, move |cursor| async move {
        let mut conn = pool.acquire().await?;
        let accounts = store::accounts_after(&mut conn, scope, cursor, limit.into()).await?;
        Ok(accounts.last().copied().map(|last| (accounts, Some(last))))
    })
}

/// Waits for the lock of the first account that is still open; false if there is none.
async fn wait_for_others(
    outbox: &Outbox,
    scope: &Scope,
    options: &Options,
) -> Result<bool, sqlx::Error> {
    let mut tx = outbox.begin(options.origin.clone()).await?;
    let first = store::accounts_after(&mut tx, scope, None, 1).await?;
    if let Some(account) = first.first() {
        chunk::store::wait_for(&mut tx, *account).await?;
    }
    tx.rollback().await?;
    Ok(!first.is_empty())
}

/// Closes and commits a chunk. If its data is refused by the database, its accounts are closed one
/// by one, so that the culprit alone is listed as an exception.
///
/// # Errors
/// [`CloseError`] when the trouble is not one account's and does not pass.
pub async fn close_accounts(
    outbox: &Outbox,
    run: &Run,
    accounts: &[AccountId],
    options: &Options,
) -> Result<ChunkClosed, CloseError> {
    match close_patiently(outbox, run, accounts, options).await {
        Err(error) if blames_content(&error) => {}
        closed => return closed,
    }
    let mut done = ChunkClosed::default();
    for account in accounts {
        done += match close_patiently(outbox, run, &[*account], options).await {
            Err(error) if blames_content(&error) => {
                except(outbox, run, *account, options, &error).await?
            }
            closed => closed?,
        };
    }
    Ok(done)
}

async fn except(
    outbox: &Outbox,
    run: &Run,
    account: AccountId,
    options: &Options,
    error: &CloseError,
) -> Result<ChunkClosed, CloseError> {
    let reason = database_cause(error).map_or_else(|| error.to_string(), ToString::to_string);
    tracing::warn!(account.id = %account, reason, "Account {account} could not be closed");
    let mut tx = outbox.begin(run.origin(&options.origin)).await?;
    let closed = chunk::except(&mut tx, run, account, (options.now, reason)).await?;
    failpoint!("close.excepted")?;
    tx.commit().await?;
    Ok(closed)
}

/// Tries again at once when the trouble passes: a deadlock is over as soon as one of the two gave
/// way, and all locks of the failed try are free.
async fn close_patiently(
    outbox: &Outbox,
    run: &Run,
    accounts: &[AccountId],
    options: &Options,
) -> Result<ChunkClosed, CloseError> {
    let mut tries = 1;
    loop {
        match close_and_commit(outbox, run, accounts, options).await {
            Err(error) if tries < TRIES && passes(&error) => tries += 1,
            closed => return closed,
        }
    }
}

async fn close_and_commit(
    outbox: &Outbox,
    run: &Run,
    accounts: &[AccountId],
    options: &Options,
) -> Result<ChunkClosed, CloseError> {
    let mut tx = outbox.begin(run.origin(&options.origin)).await?;
    let closed = close_chunk(&mut tx, run, accounts, options.now).await?;
    failpoint!("close.chunk")?;
    tx.commit().await?;
    Ok(closed)
}

fn database_cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a sqlx::Error> {
    match error.downcast_ref() {
        Some(cause) => Some(cause),
        None => database_cause(error.source()?),
    }
}

fn sqlstate(error: &CloseError) -> Option<String> {
    let code = database_cause(error)?.as_database_error()?.code()?;
    Some(code.into_owned())
}

/// Whether the rows themselves were refused: a value (22), a constraint (23), a view's check (44),
/// an exception raised by a trigger (P0). Everything else, such as a full disk, would turn the
/// whole month into exceptions.
fn blames_content(error: &CloseError) -> bool {
    let classes = ["22", "23", "44", "P0"];
    sqlstate(error).is_some_and(|code| classes.iter().any(|class| code.starts_with(class)))
}

/// Whether the same chunk may succeed the next time: serialization failure, deadlock, lock timeout.
fn passes(error: &CloseError) -> bool {
    sqlstate(error).is_some_and(|code| ["40001", "40P01", "55P03"].contains(&code.as_str()))
}
