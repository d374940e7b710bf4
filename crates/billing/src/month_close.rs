//! The month close: every open period of a month that has ended becomes an invoice, is found empty,
//! or is listed as an exception.
//!
//! It works on unclosed periods and never on "today", a chunk of accounts per transaction. A close
//! that was killed goes on where it stopped; several at once share the periods, because each locks
//! what it bills and leaves out what another has locked.
//!
//! What a close appends, and what follows from it, is a batch: when all of it has been handled, the
//! run is settled.
//!
//! Owns `billing.month_close`, `billing.close_exception`; moves `billing.period` on. Emits
//! `month_close.started`, `month_close.reopened`, `month_close.completed`, `month_close.settled`.

mod chunk;
mod driver;
mod figures;
mod settled;
mod store;

use chrono::{DateTime, NaiveDate, SubsecRound, Utc};
use outbox::{Batch, NewEvent, Origin, UnitOfWork};
use serde_json::json;
use sqlx::{PgConnection, PgPool};

use crate::ids::{AccountId, RunId};
use crate::invoice::Closing;

pub use chunk::{ChunkClosed, CloseError, close_chunk};
pub use driver::{Closed, Options, Progress, RunError, close_accounts, dry_run, run};
pub use figures::{
    ByAccount, Figures, FiguresError, by_account, by_account_in, figures, figures_in,
};
pub use settled::{is_settling, note_settled};

/// Whether a close is still at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Periods are left to do.
    Running,
    /// Every period of the month is billed, empty or listed as an exception.
    Closed,
}

/// The close of one month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// The month, by its first day.
    pub month: NaiveDate,
    /// The instant for which all figures of this close stand, chosen by whoever began it.
    pub as_of: DateTime<Utc>,
    /// Whether it is done.
    pub state: State,
    /// What it appends, if anybody wants to know when that is handled.
    pub batch: Option<Batch>,
    /// When all that was appended had been handled.
    pub settled_at: Option<DateTime<Utc>>,
}

/// Why a close did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No account has a period of the month.
    #[error("no account has an open period in {}: import its usage first", .0.format("%Y-%m"))]
    NothingThere(NaiveDate),
    /// The month's first period ends later.
    #[error("{} is not over before {until}: close it then", .month.format("%Y-%m"))]
    NotOver {
        /// The month.
        month: NaiveDate,
        /// When its first period ends.
        until: DateTime<Utc>,
    },
    /// The database refused.
    #[error("could not start the close")]
    Database(#[from] sqlx::Error),
}

/// Why a close did not finish.
#[derive(Debug, thiserror::Error)]
pub enum FinishError {
    /// The month could not be added up.
    #[error("could not add up the month")]
    Figures(#[from] FiguresError),
    /// The database refused.
    #[error("could not finish the close")]
    Database(#[from] sqlx::Error),
}

/// Starts the close of a month, or joins the one that there is: its `as_of` stays. One that is
/// closed runs again if periods of the month are open, such as exceptions that were mended.
///
/// # Errors
/// [`StartError`].
pub async fn start(
    tx: &mut UnitOfWork,
    month: NaiveDate,
    as_of: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Run, StartError> {
    if !store::exists(tx, month).await? {
        match store::first_end(tx, month).await? {
            None => return Err(StartError::NothingThere(month)),
            Some(until) if until > now => return Err(StartError::NotOver { month, until }),
            Some(_) => {}
        }
    }
    let run = Run {
        id: RunId::new(),
        month,
        // The table keeps microseconds, and the events must say what it keeps.
        as_of: as_of.trunc_subsecs(6),
        state: State::Running,
        batch: None,
        settled_at: None,
    };
    if let Some(locked) = store::insert(tx, &run, now).await? {
        tx.append(locked, event(&run, "month_close.started", None));
        return Ok(run);
    }
    let (locked, run) = store::lock(tx, month).await?;
    if run.state == State::Closed && store::has_open(tx, month, now).await? {
        store::reopen(tx, run.id).await?;
        tx.append(locked, event(&run, "month_close.reopened", None));
        return Ok(Run {
            state: State::Running,
            batch: None,
            settled_at: None,
            ..run
        });
    }
    Ok(run)
}

/// Ends a close if no period of its month is open but those listed as exceptions; otherwise it goes
/// on running. However many closers come here at once, the first says so and the others agree.
///
/// # Errors
/// [`FinishError`].
pub async fn finish(
    tx: &mut UnitOfWork,
    run: &Run,
    now: DateTime<Utc>,
) -> Result<Run, FinishError> {
    let (locked, run) = store::lock(tx, run.month).await?;
    if run.state == State::Closed || store::has_unlisted(tx, run.month).await? {
        return Ok(run);
    }
    store::close(tx, run.id, now).await?;
    let figures = figures_in(tx, run.month).await?;
    if let Some(batch) = run.batch {
        tx.seal(batch);
    }
    tx.append(locked, event(&run, "month_close.completed", Some(&figures)));
    Ok(Run {
        state: State::Closed,
        ..run
    })
}

fn event(run: &Run, topic: &'static str, figures: Option<&Figures>) -> NewEvent {
    let mut payload = json!({
        "run_id": run.id,
        "month": run.month.format("%Y-%m").to_string(),
        "as_of": run.as_of,
    });
    if let Some(figures) = figures {
        payload["figures"] = json!(figures);
    }
    NewEvent::new(topic, 1, payload)
}

/// The oldest month with an ended open period that has something to bill. A month whose open
/// periods are all listed as exceptions comes after every other.
///
/// # Errors
/// The database's.
pub async fn next_month(
    pool: &PgPool,
    now: DateTime<Utc>,
) -> Result<Option<NaiveDate>, sqlx::Error> {
    next_month_in(&mut *pool.acquire().await?, now).await
}

/// The same, as a transaction sees it.
///
/// # Errors
/// The database's.
pub async fn next_month_in(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
) -> Result<Option<NaiveDate>, sqlx::Error> {
    store::next_month(conn, now).await
}

/// The latest month that was ever closed or is being closed.
///
/// # Errors
/// The database's.
pub async fn last_month(pool: &PgPool) -> Result<Option<NaiveDate>, sqlx::Error> {
    store::last_month(pool).await
}

/// The next accounts in order of their ids, after `cursor` and at most `limit`, that have an open
/// period in the scope.
///
/// # Errors
/// The database's.
pub async fn accounts_after(
    conn: &mut PgConnection,
    scope: &Scope,
    cursor: Option<AccountId>,
    limit: i64,
) -> Result<Vec<AccountId>, sqlx::Error> {
    store::accounts_after(conn, scope, cursor, limit).await
}

/// Which periods an execution of a close works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope {
    /// The month.
    pub month: NaiveDate,
    /// Periods that ended by then.
    pub now: DateTime<Utc>,
    /// When this execution began, by the database's clock: exceptions noted since are left alone.
    pub since: DateTime<Utc>,
}

/// The close of a month, if it was ever begun.
///
/// # Errors
/// The database's.
pub async fn run_of(pool: &PgPool, month: NaiveDate) -> Result<Option<Run>, sqlx::Error> {
    store::run_of(pool, month).await
}

impl Run {
    /// What it appends is bulk, and of its batch.
    fn origin(&self, origin: &Origin) -> Origin {
        match self.batch {
            Some(batch) => origin.clone().bulk().within(batch),
            None => origin.clone(),
        }
    }

    fn closing(&self, now: DateTime<Utc>) -> Closing {
        Closing {
            run: self.id,
            as_of: self.as_of,
            now,
        }
    }
}
