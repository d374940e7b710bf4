//! The consumer that runs the checks, by a schedule, beside people at work.
//!
//! All events of the schedule have one key: in the whole fleet one run goes on at a time. It runs
//! the checks that hold at any moment, one after the other, each on a snapshot of its own, and
//! notes each outcome at once. What is violated is told by an event and by the log, once; a check
//! that cannot be run keeps none of the others from being run, and the run is tried again.

use billing::check::{self, Check, Outcome, Scope};
use billing::finding::{self, News};
use metrics::gauge;
use outbox::schedule::{self, Missed, NewSchedule, PutError};
use outbox::{Act, Dedupe, Event, External, Failure, Load, Origin, Outbox, UnitOfWork};
use serde_json::Value;
use sqlx::PgPool;
use uuid::{Uuid, uuid};

use crate::payload::{CheckDueV1, Payload};
use crate::site::told;

/// What it reads.
pub(crate) const TOPICS: &[&str] = &[CheckDueV1::TOPIC];

/// The schedule's name.
const SCHEDULE: &str = "checks";
/// The one key of its events.
const KEY: Uuid = uuid!("00000000-0000-8000-8000-00636865636b");

/// Runs the checks that hold at any moment.
#[derive(Debug, Clone)]
pub struct Checks {
    outbox: Outbox,
}

impl Checks {
    /// The checks of this database.
    #[must_use]
    pub fn new(outbox: Outbox) -> Self {
        Self { outbox }
    }

    async fn look(&self, check: &Check) -> Result<(), Failure> {
        let now = outbox::clock::now();
        let judged = check::judge(self.outbox.pool(), check, now).await?;
        let origin = Origin::of(SCHEDULE).because("a scheduled run of the checks");
        let mut tx = self.outbox.begin(origin).await?;
        let news = finding::note(&mut tx, &judged).await?;
        tx.commit().await.map_err(|error| error.0)?;
        say(news, &judged.outcome);
        Ok(())
    }
}

impl External for Checks {
    type Intent = ();
    type Answer = ();

    const DEDUPE: Dedupe = Dedupe::IdempotentSink;

    async fn load(&self, tx: &mut UnitOfWork, events: &[Event]) -> Result<Vec<Load<()>>, Failure> {
        let mut loads = Vec::with_capacity(events.len());
        for event in events {
            let CheckDueV1 { slot } = CheckDueV1::of(event)?;
            loads.push(
                match finding::is_judged_since(tx, slot.max(event.at)).await? {
                    true => Load::Obsolete("all was looked at since".to_owned()),
                    false => Load::Call(()),
                },
            );
        }
        Ok(loads)
    }

    async fn act(&self, (): &()) -> Act<()> {
        let mut trouble = Vec::new();
        for check in check::in_scope(Scope::Always) {
            match self.look(check).await {
                Ok(()) => {}
                Err(failure) if failure.is_outage() => {
                    let error = not_judged(check, &failure);
                    return Act::Unavailable { error, after: None };
                }
                Err(failure) => trouble.push(not_judged(check, &failure)),
            }
        }
        match trouble.is_empty() {
            true => Act::Answer(()),
            false => Act::Retry {
                error: trouble.join("; "),
                after: None,
            },
        }
    }

    /// Each outcome was noted when it was there.
    async fn settle(&self, _: &mut UnitOfWork, _: Vec<((), ())>) -> Result<(), Failure> {
        Ok(())
    }
}

fn not_judged(check: &Check, failure: &Failure) -> String {
    format!("check {} could not be run: {}", check.code, told(failure))
}

fn say(news: News, outcome: &Outcome) {
    let Outcome {
        code,
        title,
        violations,
        rows,
    } = outcome;
    match news {
        News::Found | News::More => {
            let rows = Value::from(rows.as_slice());
            tracing::error!(
                code, violations, %rows,
                "Check {code} is violated: {title}; rows that violate it: {violations}"
            );
        }
        News::Known => tracing::warn!(code, violations, "Check {code} is still violated"),
        News::Passed => tracing::info!(code, "Check {code} holds again: {title}"),
        News::Holds | News::Overtaken => {}
    }
}

/// Writes when the checks run: a cron expression on the clocks of UTC, or never.
///
/// # Errors
/// [`PutError`].
pub async fn plan_checks(outbox: &Outbox, cron: Option<&str>) -> Result<(), PutError> {
    let origin = Origin::of(SCHEDULE).because("a program started");
    let mut tx = outbox.begin(origin).await?;
    match cron {
        Some(cron) => schedule::put(&mut tx, &planned(cron)).await?,
        None => {
            schedule::remove(&mut tx, SCHEDULE).await?;
        }
    }
    tx.commit().await.map_err(|error| error.0)?;
    Ok(())
}

/// A run that was missed is not caught up with: the next one sees the same and more.
fn planned(cron: &str) -> NewSchedule {
    NewSchedule {
        name: SCHEDULE.to_owned(),
        cron: cron.to_owned(),
        zone: "UTC".to_owned(),
        missed: Missed::Skip,
        key: KEY,
        topic: CheckDueV1::TOPIC.to_owned(),
        schema_version: 1,
        payload: serde_json::json!({}),
    }
}

/// Sets the gauges of how each check came out last, whoever ran it: `billing_check_violations`,
/// `billing_check_seconds` and `billing_check_timestamp_seconds`, with a label `code`.
///
/// # Errors
/// The database's.
pub async fn show_checks(pool: &PgPool) -> Result<(), sqlx::Error> {
    for standing in finding::standings(pool).await? {
        let code = || standing.code.clone();
        gauge!("billing_check_violations", "code" => code()).set(number(standing.violations));
        gauge!("billing_check_seconds", "code" => code()).set(standing.took);
        let at = number(standing.checked_at.timestamp());
        gauge!("billing_check_timestamp_seconds", "code" => code()).set(at);
    }
    Ok(())
}

/// Exact up to four billion.
fn number(count: i64) -> f64 {
    f64::from(u32::try_from(count.max(0)).unwrap_or(u32::MAX))
}
