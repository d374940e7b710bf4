//! Usage: what was consumed, counted once per source and event id, and summed on arrival.
//!
//! The same id with the same body is accepted again without effect; with another body it is a
//! conflict, because what it said before may be on an invoice. The sums per account, period, price
//! and month are all that a close reads, so its cost does not grow with the number of events.
//!
//! Owns `billing.usage_event`, `billing.usage_sum`. Emits nothing: invoices announce usage.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};
use outbox::UnitOfWork;
use rust_decimal::Decimal;

use crate::ids::{AccountId, PriceId};
use crate::money::{MoneyError, stored};
use crate::period::{self, AccountMonth, PeriodError};
use crate::text::{self, ID_CHARS_MAX, TextProblem};

mod store;

/// What makes an event the one it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UsageKey {
    /// Who counts: a meter, an importer.
    pub source: String,
    /// Its id there; at most 512 characters.
    pub event_id: String,
}

/// Something that was used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageEvent {
    /// What makes it the one it is.
    pub key: UsageKey,
    /// Who used it.
    pub account_id: AccountId,
    /// What it costs.
    pub price_id: PriceId,
    /// The month it is usage of, named by its first day, whenever it arrives.
    pub usage_month: NaiveDate,
    /// How much, in the price's unit; at most 12 decimals. A refund is negative.
    pub quantity: Decimal,
    /// What it costs, in major units, where the price passes costs through; zero otherwise.
    pub amount: Decimal,
    /// When.
    pub used_at: DateTime<Utc>,
    /// SHA-256 of what is billed by.
    pub body_hash: [u8; 32],
}

/// What became of a set of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recorded {
    /// Added to the sums.
    pub new: u64,
    /// Recorded before: nothing changed.
    pub repeated: u64,
}

/// Why usage was not recorded.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// The id is known, and its body was another. What was billed by stays.
    #[error("usage {event_id:?} of {source_name:?} was recorded before with other figures")]
    Conflict {
        /// Who counts.
        source_name: String,
        /// The id there.
        event_id: String,
    },
    /// The source or event id cannot be stored or compared.
    #[error("the id of usage {0:?} {1}")]
    Id(String, TextProblem),
    /// The quantity or amount cannot be stored exactly.
    #[error("usage {0:?} cannot be stored exactly")]
    Figure(String, #[source] MoneyError),
    /// There is no period to join.
    #[error("the usage joins no period")]
    Period(#[from] PeriodError),
    /// The database refused or was lost.
    #[error("could not read or write usage")]
    Database(#[from] sqlx::Error),
}

/// Records usage, each event once. Its account's lock is shared until the unit of
/// work ends: no close comes in between.
///
/// # Errors
/// [`UsageError::Conflict`] for the first id whose body changed: roll back then. Or what
/// [`period::ensure_open`] refuses, or an event that cannot be stored exactly.
pub async fn record(tx: &mut UnitOfWork, events: &[UsageEvent]) -> Result<Recorded, UsageError> {
    let (recorded, changed) = record_unchanged(tx, events).await?;
    match changed.into_iter().next() {
        None => Ok(recorded),
        Some((UsageKey { source, event_id }, _)) => Err(UsageError::Conflict {
            source_name: source,
            event_id,
        }),
    }
}

/// Records the first usage of accounts that this unit of work created, in their first period.
///
/// # Errors
/// An event that cannot be stored exactly, or is recorded already; the database's.
pub(crate) async fn record_first(
    tx: &mut UnitOfWork,
    events: &[UsageEvent],
) -> Result<(), UsageError> {
    events.iter().try_for_each(check)?;
    Ok(store::copy(tx, events).await?)
}

/// Ids that are known, with the other bodies that were offered for them.
pub(crate) type Changed = BTreeSet<(UsageKey, [u8; 32])>;

/// As [`record`], but leaves out the events whose bodies changed, and names them.
pub(crate) async fn record_unchanged(
    tx: &mut UnitOfWork,
    events: &[UsageEvent],
) -> Result<(Recorded, Changed), UsageError> {
    let mut batch = Batch::of(events)?;
    batch.settle(store::body_hashes(tx, batch.fresh.keys().copied()).await?);
    let placed = batch.placed(tx).await?;
    let added = store::add(tx, &placed).await?;
    for key in &added {
        batch.fresh.remove(key);
    }
    // Whoever recorded the rest at the same time has committed by now: the insert waited for it.
    batch.settle(store::body_hashes(tx, batch.fresh.keys().copied()).await?);
    let refused = |event: &&UsageEvent| {
        batch
            .changed
            .contains(&(event.key.clone(), event.body_hash))
    };
    let repeated = events.len() - added.len() - events.iter().filter(refused).count();
    let recorded = Recorded {
        new: added.len() as u64,
        repeated: repeated as u64,
    };
    Ok((recorded, batch.changed))
}

/// A set of events on its way into the table, in order of key, so that two recorders never wait for
/// each other in a circle.
#[derive(Default)]
struct Batch<'a> {
    fresh: BTreeMap<&'a UsageKey, &'a UsageEvent>,
    changed: Changed,
}

impl<'a> Batch<'a> {
    fn of(events: &'a [UsageEvent]) -> Result<Self, UsageError> {
        let mut batch = Self::default();
        for event in events {
            check(event)?;
            let first = *batch.fresh.entry(&event.key).or_insert(event);
            batch.compare(event, &first.body_hash);
        }
        Ok(batch)
    }

    /// Takes out what the table has.
    fn settle(&mut self, known: Vec<(UsageKey, Vec<u8>)>) {
        for (key, body_hash) in known {
            if let Some(event) = self.fresh.remove(&key) {
                self.compare(event, &body_hash);
            }
        }
    }

    fn compare(&mut self, event: &UsageEvent, known: &[u8]) {
        if event.body_hash != known {
            self.changed.insert((event.key.clone(), event.body_hash));
        }
    }

    /// The events with the numbers of the periods they join. Only these open periods: usage that is
    /// known already must not create the next one.
    async fn placed(&self, tx: &mut UnitOfWork) -> Result<Vec<(&'a UsageEvent, i32)>, PeriodError> {
        let at = |event: &UsageEvent| -> AccountMonth { (event.account_id, event.usage_month) };
        let wanted = self.fresh.values().map(|event| at(event)).collect();
        let seqs = period::ensure_open(tx, &wanted).await?;
        Ok(self
            .fresh
            .values()
            .map(|event| (*event, seqs[&at(event)]))
            .collect())
    }
}

fn check(event: &UsageEvent) -> Result<(), UsageError> {
    for part in [&event.key.source, &event.key.event_id] {
        text::check(part, ID_CHARS_MAX).map_err(|why| UsageError::Id(part.clone(), why))?;
    }
    for figure in [event.quantity, event.amount] {
        stored(figure).map_err(|why| UsageError::Figure(event.key.event_id.clone(), why))?;
    }
    Ok(())
}
