//! The consumer that keeps the collection report's figures: all in this database, so each fact is
//! counted in the transaction that moves the position, exactly once.

use billing::report::{self, Fact, ReportError};
use outbox::{Event, Failure, Obsolete, Transactional, UnitOfWork};

use crate::payload::{InvoiceFinalizedV1, InvoicePaidV1, Payload, PaymentSucceededV1};

/// What it reads.
pub(crate) const TOPICS: &[&str] = &[
    InvoiceFinalizedV1::TOPIC,
    InvoicePaidV1::TOPIC,
    PaymentSucceededV1::TOPIC,
];

/// Counts invoices that became final, money that came in for them, and those that were paid.
#[derive(Debug, Clone, Copy)]
pub struct CollectionReport;

impl Transactional for CollectionReport {
    async fn apply(&self, tx: &mut UnitOfWork, events: &[Event]) -> Result<Vec<Obsolete>, Failure> {
        let mut facts = Vec::with_capacity(events.len());
        for event in events {
            facts.extend(fact(event)?.map(|fact| (fact, event.part)));
        }
        match report::count(tx, &facts).await {
            Ok(()) => Ok(Vec::new()),
            Err(ReportError::Database(error)) => Err(Failure::Database(error)),
            Err(error @ ReportError::Money(_)) => Err(Failure::retry(error)),
        }
    }
}

fn fact(event: &Event) -> Result<Option<Fact>, Failure> {
    Ok(match event.topic.as_str() {
        InvoicePaidV1::TOPIC => Some(InvoicePaidV1::of(event)?.fact()),
        PaymentSucceededV1::TOPIC => PaymentSucceededV1::of(event)?.fact(),
        _ => Some(InvoiceFinalizedV1::of(event)?.fact()),
    })
}
