//! The consumer that keeps the collection report's figures: all in this database, so each invoice
//! is counted in the transaction that moves the position, exactly once.

use billing::report::{self, ReportError};
use outbox::{Event, Failure, Obsolete, Transactional, UnitOfWork};

use crate::payload::InvoiceFinalizedV1;

/// Counts the invoices that became final.
#[derive(Debug, Clone, Copy)]
pub struct CollectionReport;

impl Transactional for CollectionReport {
    async fn apply(&self, tx: &mut UnitOfWork, events: &[Event]) -> Result<Vec<Obsolete>, Failure> {
        let read = |event| InvoiceFinalizedV1::of(event).map(|read| read.finalized(event.part));
        let finalized: Vec<_> = events.iter().map(read).collect::<Result<_, _>>()?;
        match report::count(tx, &finalized).await {
            Ok(()) => Ok(Vec::new()),
            Err(ReportError::Database(error)) => Err(Failure::Database(error)),
            Err(error @ ReportError::Money(_)) => Err(Failure::retry(error)),
        }
    }
}
