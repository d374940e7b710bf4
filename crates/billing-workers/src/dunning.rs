//! The consumer that climbs the rungs of dunning: retries planned, accounts held, all in this
//! database and once.

use billing::dunning;
use outbox::{Event, Failure, Obsolete, Transactional, UnitOfWork, clock};

use crate::payload::{DunningDueV1, Payload, PaymentDeclinedV1};

/// What it reads.
pub(crate) const TOPICS: &[&str] = &[PaymentDeclinedV1::TOPIC, DunningDueV1::TOPIC];

/// Decides what follows a decline.
#[derive(Debug, Clone, Copy)]
pub struct Dunning;

impl Transactional for Dunning {
    async fn apply(&self, tx: &mut UnitOfWork, events: &[Event]) -> Result<Vec<Obsolete>, Failure> {
        let mut obsolete = Vec::new();
        for event in events {
            if let Some(reason) = climb(tx, event).await? {
                obsolete.push(Obsolete {
                    event_id: event.event_id,
                    reason,
                });
            }
        }
        Ok(obsolete)
    }
}

async fn climb(tx: &mut UnitOfWork, event: &Event) -> Result<Option<String>, Failure> {
    let now = clock::now();
    if event.topic == DunningDueV1::TOPIC {
        let due = DunningDueV1::of(event)?;
        let whose = (due.account_id, due.invoice_id);
        return Ok(dunning::look_again(tx, whose, now).await?);
    }
    let declined = PaymentDeclinedV1::of(event)?.declined();
    Ok(dunning::escalate(tx, declined, now).await?)
}
