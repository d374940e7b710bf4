//! Schedules: events that recur, by a cron expression read on the clocks of an IANA zone.
//!
//! Relays fire them as they fire timers. A slot, the instant of one recurrence, is a row whose key
//! is the schedule's name and that instant; it is inserted together with its event, so a slot fires
//! once however many relays run. What was missed while none ran is told by [`Missed`].
//!
//! Where clocks go forward, a slot at a fixed time that does not exist is at the first instant
//! after the gap; where they go back, it is at the first of the two. An expression with a wildcard
//! or a step in hours, minutes or seconds follows the time that really passes.
//!
//! Owns `outbox.schedule`, `outbox.schedule_slot`. Writes `outbox.event` when a slot fires.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use croner::Cron;
use serde_json::Value;
use sqlx::PgPool;
use uuid::Uuid;

use crate::append::UnitOfWork;
use crate::event::part_of;

mod fire;

pub(crate) use self::fire::fire_all;

/// What happens to slots that nobody fired in time, because no relay ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missed {
    /// They are left out: one that is later than a minute does not fire.
    Skip,
    /// One event for all of them, at the newest.
    Once,
    /// An event for each; of more than a hundred the newest hundred.
    All,
}

impl Missed {
    const fn code(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Once => "once",
            Self::All => "all",
        }
    }

    fn from_code(code: &str) -> Self {
        match code {
            "skip" => Self::Skip,
            "once" => Self::Once,
            _ => Self::All,
        }
    }
}

/// A schedule to be written.
#[derive(Debug, Clone)]
pub struct NewSchedule {
    /// Its name, unique in the log.
    pub name: String,
    /// Five fields from minutes on, or six from seconds on: `0 2 * * *`.
    pub cron: String,
    /// Whose clocks: `Europe/Berlin`.
    pub zone: String,
    /// What happens to slots that were missed.
    pub missed: Missed,
    /// The ordering key of its events. Firing takes no lock of an aggregate: as with timers, an
    /// event of a schedule announces no change.
    pub key: Uuid,
    /// What happens.
    pub topic: String,
    /// The version of the payload's shape.
    pub schema_version: i16,
    /// The facts, an object; each event has its slot in them as `slot`.
    pub payload: Value,
}

/// Why a schedule was not written.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// The expression cannot be read.
    #[error("`{cron}` is no cron expression: {why}")]
    Cron {
        /// As it was given.
        cron: String,
        /// What is wrong with it.
        why: String,
    },
    /// There is no such zone.
    #[error("`{0}` is no IANA zone such as Europe/Berlin")]
    Zone(String),
    /// The expression names no instant that is still to come.
    #[error("`{0}` never happens again")]
    Never(String),
    /// The facts have no place for the slot.
    #[error("the payload of a schedule is a JSON object")]
    Payload,
    /// The database refused it.
    #[error("the schedule could not be written")]
    Database(#[from] sqlx::Error),
}

/// A schedule as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scheduled {
    /// Its name.
    pub name: String,
    /// The expression.
    pub cron: String,
    /// Whose clocks.
    pub zone: String,
    /// What happens.
    pub topic: String,
    /// The next slot, if there is one.
    pub next_at: Option<DateTime<Utc>>,
    /// Paused: nothing fires.
    pub is_paused: bool,
}

/// Slots of an expression in a zone.
#[derive(Debug)]
pub(crate) struct Slots {
    cron: Cron,
    zone: Tz,
}

impl Slots {
    pub(crate) fn of(cron: &str, zone: &str) -> Result<Self, PutError> {
        let parsed = Cron::from_str(cron).map_err(|error| PutError::Cron {
            cron: cron.to_owned(),
            why: error.to_string(),
        })?;
        let zone = zone.parse().map_err(|_| PutError::Zone(zone.to_owned()))?;
        Ok(Self { cron: parsed, zone })
    }

    /// The first slot after an instant.
    pub(crate) fn after(&self, instant: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let local = instant.with_timezone(&self.zone);
        let next = self.cron.find_next_occurrence(&local, false).ok()?;
        Some(next.with_timezone(&Utc))
    }
}

/// Writes a schedule, or changes the one of that name. Its slots go on where they were unless
/// expression or zone changed: then they begin anew after now, by the database's clock. So it can
/// be written at every start of a program, and what was missed before is not forgotten.
///
/// # Errors
/// [`PutError`].
pub async fn put(tx: &mut UnitOfWork, new: &NewSchedule) -> Result<(), PutError> {
    let slots = Slots::of(&new.cron, &new.zone)?;
    if !new.payload.is_object() {
        return Err(PutError::Payload);
    }
    let next = slots.after(now(tx).await?);
    let next = next.ok_or_else(|| PutError::Never(new.cron.clone()))?;
    let (actor, lane) = (tx.origin().actor.clone(), tx.origin().lane);
    sqlx::query!(
        "
        -- schedule: put
        insert into outbox.schedule as known (
            name, cron, zone, missed, topic, schema_version, key, part, lane, payload, actor,
            next_at
        )
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::text::json, $11, $12)
        on conflict (name) do update
        set cron = excluded.cron, zone = excluded.zone, missed = excluded.missed,
            topic = excluded.topic, schema_version = excluded.schema_version,
            key = excluded.key, part = excluded.part, lane = excluded.lane,
            payload = excluded.payload, actor = excluded.actor,
            next_at = case
                when (known.cron, known.zone) = (excluded.cron, excluded.zone) then known.next_at
                else excluded.next_at
            end,
            changed_at = clock_timestamp()
        ",
        new.name,
        new.cron,
        new.zone,
        new.missed.code(),
        new.topic,
        new.schema_version,
        new.key,
        part_of(new.key),
        lane.code(),
        new.payload.to_string(),
        actor,
        next,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn now(tx: &mut UnitOfWork) -> Result<DateTime<Utc>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"-- schedule: now
        select clock_timestamp() as "now!""#
    )
    .fetch_one(&mut **tx)
    .await
}

/// Stops a schedule until it is resumed. False when there is none.
///
/// # Errors
/// The database's.
pub async fn pause(tx: &mut UnitOfWork, name: &str) -> Result<bool, sqlx::Error> {
    set_paused(tx, name, true).await
}

/// Lets a schedule go on. The slots of the pause were missed, and [`Missed`] holds for them.
///
/// # Errors
/// The database's.
pub async fn resume(tx: &mut UnitOfWork, name: &str) -> Result<bool, sqlx::Error> {
    set_paused(tx, name, false).await
}

async fn set_paused(tx: &mut UnitOfWork, name: &str, is_paused: bool) -> Result<bool, sqlx::Error> {
    let found = sqlx::query!(
        "
        -- schedule: pause or resume
        update outbox.schedule
        set is_paused = $2, changed_at = clock_timestamp()
        where name = $1
        ",
        name,
        is_paused,
    )
    .execute(&mut **tx)
    .await?;
    Ok(found.rows_affected() == 1)
}

/// Removes a schedule. What has fired stays in the log. False when there is none.
///
/// # Errors
/// The database's.
pub async fn remove(tx: &mut UnitOfWork, name: &str) -> Result<bool, sqlx::Error> {
    let removed = sqlx::query!(
        "
        -- schedule: remove
        with slots as (
            delete from outbox.schedule_slot where name = $1
        )
        delete from outbox.schedule where name = $1
        ",
        name,
    )
    .execute(&mut **tx)
    .await?;
    Ok(removed.rows_affected() == 1)
}

/// All schedules, by name.
///
/// # Errors
/// The database's.
pub async fn list(pool: &PgPool) -> Result<Vec<Scheduled>, sqlx::Error> {
    sqlx::query_as!(
        Scheduled,
        "
        -- schedule: list
        select name, cron, zone, topic, next_at, is_paused
        from outbox.schedule
        order by name
        "
    )
    .fetch_all(pool)
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(cron: &str, after: &str, number: usize) -> Vec<String> {
        let slots = Slots::of(cron, "Europe/Berlin").expect("an expression and a zone");
        let mut at: DateTime<Utc> = after.parse().expect("an instant");
        let mut found = Vec::new();
        while found.len() < number {
            at = slots.after(at).expect("it happens again");
            found.push(at.format("%d %H:%M").to_string());
        }
        found
    }

    /// On 30 March 2025 clocks went from 2:00 (1:00 UTC) to 3:00.
    #[test]
    fn a_time_that_does_not_exist_is_the_first_after_the_gap() {
        let nights = slots("30 2 * * *", "2025-03-28T12:00:00Z", 3);
        assert_eq!(nights, ["29 01:30", "30 01:00", "31 00:30"]);
        let hours = slots("30 * * * *", "2025-03-30T00:00:00Z", 3);
        assert_eq!(hours, ["30 00:30", "30 01:30", "30 02:30"]);
    }

    /// On 26 October 2025 clocks went from 3:00 (1:00 UTC) to 2:00.
    #[test]
    fn a_time_that_happens_twice_is_the_first_of_the_two() {
        let nights = slots("30 2 * * *", "2025-10-24T12:00:00Z", 3);
        assert_eq!(nights, ["25 00:30", "26 00:30", "27 01:30"]);
        let hours = slots("30 * * * *", "2025-10-26T00:00:00Z", 3);
        assert_eq!(hours, ["26 00:30", "26 01:30", "26 02:30"]);
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_its_reason() {
        let refused = |cron, zone| Slots::of(cron, zone).expect_err("refused").to_string();
        assert!(refused("61 2 * * *", "UTC").starts_with("`61 2 * * *` is no cron expression"));
        assert!(refused("0 2 * * *", "Berlin").starts_with("`Berlin` is no IANA zone"));
    }
}
