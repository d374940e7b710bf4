//! The consumer that climbs the rungs of dunning: retries planned, accounts held, all in this
//! database and once.

use std::collections::HashSet;

use billing::dunning;
use chrono::{DateTime, Utc};
use outbox::{Event, Failure, Obsolete, Transactional, UnitOfWork, clock};

use crate::payload::{DunningDueV1, Payload, PaymentDeclinedV1};

/// What it reads.
pub(crate) const TOPICS: &[&str] = &[PaymentDeclinedV1::TOPIC, DunningDueV1::TOPIC];

/// Decides what follows a decline.
#[derive(Debug, Clone, Copy)]
pub struct Dunning;

impl Transactional for Dunning {
    async fn apply(&self, tx: &mut UnitOfWork, events: &[Event]) -> Result<Vec<Obsolete>, Failure> {
        let now = clock::now();
        let mut obsolete = Vec::new();
        for run in runs(events) {
            let reasons = match run {
                [due] if due.topic == DunningDueV1::TOPIC => vec![look_again(tx, due, now).await?],
                declines => climb(tx, declines, now).await?,
            };
            let told = run.iter().zip(reasons);
            obsolete.extend(told.filter_map(|(event, reason)| {
                Some(Obsolete {
                    event_id: event.event_id,
                    reason: reason?,
                })
            }));
        }
        Ok(obsolete)
    }
}

/// Declines of different accounts, which climb together; anything else stands alone.
fn runs(events: &[Event]) -> Vec<&[Event]> {
    let mut runs = Vec::new();
    let (mut start, mut keys) = (0, HashSet::new());
    for (at, event) in events.iter().enumerate() {
        let is_due = event.topic == DunningDueV1::TOPIC;
        let after_due = at > start && events[at - 1].topic == DunningDueV1::TOPIC;
        if at > start && (is_due || after_due || keys.contains(&event.key)) {
            runs.push(&events[start..at]);
            start = at;
            keys.clear();
        }
        keys.insert(event.key);
    }
    runs.push(&events[start..]);
    runs
}

async fn look_again(
    tx: &mut UnitOfWork,
    event: &Event,
    now: DateTime<Utc>,
) -> Result<Option<String>, Failure> {
    let due = DunningDueV1::of(event)?;
    let whose = (due.account_id, due.invoice_id);
    Ok(dunning::look_again(tx, whose, now).await?)
}

async fn climb(
    tx: &mut UnitOfWork,
    events: &[Event],
    now: DateTime<Utc>,
) -> Result<Vec<Option<String>>, Failure> {
    let read = |event| PaymentDeclinedV1::of(event).map(|read| read.declined());
    let declined: Vec<_> = events.iter().map(read).collect::<Result<_, _>>()?;
    Ok(dunning::escalate_all(tx, &declined, now).await?)
}
