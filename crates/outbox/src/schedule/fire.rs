//! Firing the slots of a schedule that are due.

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{Missed, Slots};
use crate::failpoint;

/// A slot that fires later than that was missed.
const LATE: TimeDelta = TimeDelta::seconds(60);
/// Of missed slots no more than that are caught up with.
const MISSED_MAX: usize = 100;
/// How many slots are counted at once: for those of every second, a day and more.
const COUNTED_MAX: usize = 100_000;

struct Due {
    name: String,
    cron: String,
    zone: String,
    missed: String,
    payload: Json<Value>,
    next_at: DateTime<Utc>,
    now: DateTime<Utc>,
}

/// Appends the events of all slots that are due, and says how many. A transaction per schedule.
pub(crate) async fn fire_all(pool: &PgPool) -> Result<u64, sqlx::Error> {
    let mut all = 0;
    loop {
        let mut tx = crate::append::begin(pool, "begin isolation level read committed").await?;
        let Some(due) = next_due(&mut tx).await? else {
            return Ok(all);
        };
        all += fire(&mut tx, due).await?;
        failpoint!("schedule.fired")?;
        tx.commit().await?;
    }
}

/// The row's lock keeps other relays from counting the same slots; they go on with other schedules.
async fn next_due(tx: &mut PgConnection) -> Result<Option<Due>, sqlx::Error> {
    sqlx::query_as!(
        Due,
        r#"
        -- schedule: lock one that is due
        select name, cron, zone, missed, payload as "payload: _", next_at as "next_at!",
            clock_timestamp() as "now!"
        from outbox.schedule
        where next_at <= statement_timestamp() and not is_paused
        order by next_at
        limit 1
        for update skip locked
        "#
    )
    .fetch_optional(tx)
    .await
}

async fn fire(tx: &mut PgConnection, due: Due) -> Result<u64, sqlx::Error> {
    let slots = match Slots::of(&due.cron, &due.zone) {
        Ok(slots) => slots,
        Err(error) => {
            tracing::error!(schedule = due.name, %error, "Schedule {} stops: {error}", due.name);
            move_on(tx, &due.name, None).await?;
            return Ok(0);
        }
    };
    let found = Found::of(&slots, due.next_at, due.now);
    let fired = found.to_fire(Missed::from_code(&due.missed), due.now);
    if found.count > fired.len() {
        tracing::warn!(
            schedule = due.name,
            missed = found.count,
            "{} of {} slots of schedule {} that were due do not fire: it was late",
            found.count - fired.len(),
            found.count,
            due.name
        );
    }
    let mut appended = 0;
    for slot in fired {
        appended += append(tx, &due, slot).await?;
    }
    move_on(tx, &due.name, found.next).await?;
    Ok(appended)
}

/// The slots that are due.
struct Found {
    newest: VecDeque<DateTime<Utc>>,
    count: usize,
    next: Option<DateTime<Utc>>,
}

impl Found {
    fn of(slots: &Slots, first: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        let mut found = Self {
            newest: VecDeque::new(),
            count: 0,
            next: Some(first),
        };
        while let Some(slot) = found.next.filter(|slot| *slot <= now) {
            if found.count == COUNTED_MAX {
                break;
            }
            found.count += 1;
            found.newest.push_back(slot);
            if found.newest.len() > MISSED_MAX {
                found.newest.pop_front();
            }
            found.next = slots.after(slot);
        }
        found
    }

    fn to_fire(&self, missed: Missed, now: DateTime<Utc>) -> Vec<DateTime<Utc>> {
        let newest = self.newest.back().copied();
        match missed {
            Missed::All => self.newest.iter().copied().collect(),
            Missed::Once => newest.into_iter().collect(),
            Missed::Skip => {
                let in_time = newest.filter(|slot| now - *slot <= LATE);
                in_time.into_iter().collect()
            }
        }
    }
}

/// The slot's row and its event: only who inserts the row appends.
async fn append(tx: &mut PgConnection, due: &Due, slot: DateTime<Utc>) -> Result<u64, sqlx::Error> {
    let mut facts = due.payload.0.clone();
    if let Some(facts) = facts.as_object_mut() {
        facts.insert("slot".to_owned(), slot.to_rfc3339().into());
    }
    let event_id: Uuid = crate::ids::new();
    let appended = sqlx::query!(
        "
        -- schedule: fire a slot
        with fired as (
            insert into outbox.schedule_slot (name, slot, event_id)
            values ($1, $2, $3)
            on conflict (name, slot) do nothing
            returning name
        )
        insert into outbox.event
            (event_id, topic, schema_version, key, part, lane, payload, actor, reason)
        select $3, topic, schema_version, key, part, lane, $4::text::json, actor,
            'schedule ' || name
        from fired
        join outbox.schedule using (name)
        ",
        due.name,
        slot,
        event_id,
        facts.to_string(),
    )
    .execute(tx)
    .await?;
    Ok(appended.rows_affected())
}

/// Slots of the last week stay for people to look at; older ones cannot fire again, because a
/// schedule's next slot only moves on.
async fn move_on(
    tx: &mut PgConnection,
    name: &str,
    next: Option<DateTime<Utc>>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "
        -- schedule: move on
        with old as (
            delete from outbox.schedule_slot
            where name = $1 and slot < clock_timestamp() - interval '7 days'
        )
        update outbox.schedule set next_at = $2 where name = $1
        ",
        name,
        next,
    )
    .execute(tx)
    .await?;
    Ok(())
}
