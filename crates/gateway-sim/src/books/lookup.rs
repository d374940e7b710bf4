//! Look-ups: what the books say, read beside the writer from the last commit.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension as _};
use tracing::error;

use super::{StatementQuery, Webhook, charge as charges, refund as refunds, statement, webhook};
use crate::answer::Refusal;
use crate::charge::{Charge, Refund, charge_number};
use crate::clock::Moment;

/// No attempt of ours has so many charges; a reference that does is a fault of the caller.
const SAME_REFERENCE_MAX: u32 = 100;

/// A connection that reads. Its statements run where blocking is allowed.
#[derive(Debug)]
pub(crate) struct Lookup {
    connection: Mutex<Connection>,
}

impl Lookup {
    pub(super) fn new(connection: Connection) -> Self {
        let connection = Mutex::new(connection);
        Self { connection }
    }

    pub(crate) async fn charge_by_id(
        self: &Arc<Self>,
        id: String,
    ) -> Result<Option<Charge>, Refusal> {
        let Some(number) = charge_number(&id) else {
            return Ok(None);
        };
        self.read(move |connection| charge(connection, number).optional())
            .await
    }

    /// All charges with the caller's reference that were made by then, oldest first.
    pub(crate) async fn charges_by_reference(
        self: &Arc<Self>,
        reference: String,
        made_by: Moment,
    ) -> Result<Vec<Charge>, Refusal> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "select number, reference, amount_minor, currency, refunded_minor,
                        decline_code, soft, created_at
                 from charge
                 where reference = ?1 and created_at <= ?2
                 order by number
                 limit ?3",
            )?;
            let asked = (reference, made_by, SAME_REFERENCE_MAX);
            statement.query_map(asked, charges::from_row)?.collect()
        })
        .await
    }

    /// All refunds with the caller's reference that were made by then, oldest first.
    pub(crate) async fn refunds_by_reference(
        self: &Arc<Self>,
        reference: String,
        made_by: Moment,
    ) -> Result<Vec<Refund>, Refusal> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "select r.number, r.charge, r.reference, r.amount_minor, c.currency, r.created_at
                 from refund r
                 join charge c on c.number = r.charge
                 where r.reference = ?1 and r.created_at <= ?2
                 order by r.number
                 limit ?3",
            )?;
            let asked = (reference, made_by, SAME_REFERENCE_MAX);
            statement.query_map(asked, refunds::from_row)?.collect()
        })
        .await
    }

    pub(crate) async fn statement(
        self: &Arc<Self>,
        query: StatementQuery,
    ) -> Result<statement::Statement, Refusal> {
        self.read(move |connection| statement::draw_up(connection, &query))
            .await
    }

    /// The webhooks that are due, longest due first, and when the next one is.
    pub(crate) async fn webhooks_due(
        self: &Arc<Self>,
        now: Moment,
        limit: u32,
    ) -> Result<(Vec<Webhook>, Option<Moment>), Refusal> {
        self.read(move |connection| webhook::due(connection, now, limit))
            .await
    }

    async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Refusal> {
        let lookup = Arc::clone(self);
        let read = move || {
            // A panic of another reader left nothing half done: readers change nothing.
            let connection = lookup.connection.lock();
            query(&connection.unwrap_or_else(PoisonError::into_inner))
        };
        let found = tokio::task::spawn_blocking(read).await;
        let found = found.map_err(|_| Refusal::internal())?;
        found.map_err(|error| {
            error!("The books cannot be read: {error}");
            Refusal::internal()
        })
    }
}

/// The charge with this number, as it is now.
pub(super) fn charge(connection: &Connection, number: i64) -> rusqlite::Result<Charge> {
    let mut statement = connection.prepare_cached(
        "select number, reference, amount_minor, currency, refunded_minor,
                decline_code, soft, created_at
         from charge
         where number = ?1",
    )?;
    statement.query_row([number], charges::from_row)
}
