//! The writer: one thread, which commits all orders that wait in one transaction and answers them
//! after it. Many callers share one flush of the disk, and none is answered before it.

use std::thread::JoinHandle;

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};
use tracing::error;

use super::{BooksError, Outcome, Page, Rules, Written, cancel, charge, refund, webhook};
use crate::answer::Refusal;
use crate::clock::{Clock, Moment};
use crate::request::{CancelRequest, ChargeRequest, Keyed, RefundRequest};

/// Orders that may wait; whoever comes then waits to be let in.
const QUEUE: usize = 4096;
/// Orders in one transaction: enough to share a flush, few enough to answer soon.
const BATCH_MAX: usize = 512;

/// What changes the books.
#[derive(Debug)]
pub(crate) enum Order {
    Charge(Keyed<ChargeRequest>),
    Refund(Keyed<RefundRequest>),
    Cancel(CancelRequest),
    /// What became of an attempt to deliver a webhook.
    Delivery {
        seq: i64,
        outcome: Outcome,
    },
}

struct Waiting {
    order: Order,
    reply: oneshot::Sender<Written>,
}

/// Hands orders to the thread that writes. It ends when the last clone is dropped.
#[derive(Debug, Clone)]
pub(crate) struct Writer {
    queue: mpsc::Sender<Waiting>,
}

impl Writer {
    /// Starts the thread. Whoever joins it knows that the file is closed.
    pub(super) fn start(
        connection: Connection,
        rules: Rules,
        clock: Clock,
    ) -> Result<(Self, JoinHandle<()>), BooksError> {
        let last = last_moment(&connection)?;
        let (queue, waiting) = mpsc::channel(QUEUE);
        let mut pen = Pen {
            connection,
            rules,
            clock,
            last,
        };
        let thread = std::thread::Builder::new().name("gateway-books".to_owned());
        let thread = thread.spawn(move || pen.run(waiting))?;
        Ok((Self { queue }, thread))
    }

    /// Carries out the order. It is on disk when this returns; it is carried out even if the caller
    /// stops waiting.
    ///
    /// # Errors
    /// The books cannot be written; nothing was charged unless they say so.
    pub(crate) async fn write(&self, order: Order) -> Result<Written, Refusal> {
        let (reply, answered) = oneshot::channel();
        let waiting = Waiting { order, reply };
        let queued = self.queue.send(waiting).await;
        queued.map_err(|_| Refusal::internal())?;
        answered.await.map_err(|_| Refusal::internal())
    }
}

/// The books' time goes on from where it was, whatever the wall clock says.
fn last_moment(connection: &Connection) -> rusqlite::Result<Moment> {
    let sql = "select at from movement order by seq desc limit 1";
    let found = connection.query_row(sql, (), |row| row.get(0));
    match found {
        Err(rusqlite::Error::QueryReturnedNoRows) => Ok(Moment::FIRST),
        found => found,
    }
}

/// What the thread writes with.
struct Pen {
    connection: Connection,
    rules: Rules,
    clock: Clock,
    last: Moment,
}

impl Pen {
    fn run(&mut self, mut queue: mpsc::Receiver<Waiting>) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        while queue.blocking_recv_many(&mut batch, BATCH_MAX) > 0 {
            self.last = self.clock.now().max(self.last);
            match self.commit(&batch) {
                Ok(written) => answer(batch.drain(..), written),
                Err(error) => {
                    error!("The books cannot be written: {error}");
                    // The callers learn it from the reply that never comes.
                    batch.clear();
                }
            }
        }
    }

    fn commit(&mut self, batch: &[Waiting]) -> rusqlite::Result<Vec<Written>> {
        let immediate = TransactionBehavior::Immediate;
        let tx = self.connection.transaction_with_behavior(immediate)?;
        let page = Page {
            tx: &tx,
            now: self.last,
            rules: &self.rules,
        };
        let written: rusqlite::Result<Vec<Written>> = batch
            .iter()
            .map(|waiting| carry_out(&page, &waiting.order))
            .collect();
        let written = written?;
        tx.commit()?;
        Ok(written)
    }
}

fn carry_out(page: &Page<'_>, order: &Order) -> rusqlite::Result<Written> {
    match order {
        Order::Charge(order) => charge::charge(page, order),
        Order::Refund(order) => refund::refund(page, order),
        Order::Cancel(order) => cancel::cancel_by_key(page, order),
        Order::Delivery { seq, outcome } => webhook::record(page, *seq, *outcome),
    }
}

fn answer(batch: impl Iterator<Item = Waiting>, written: Vec<Written>) {
    for (waiting, written) in batch.zip(written) {
        // Whoever left finds the answer under its key.
        if waiting.reply.send(written).is_err() {
            tracing::debug!("A caller left before its answer");
        }
    }
}
