//! Writers: they change aggregates and announce each change, as long as there is work. Any of them
//! may end in the middle of a transaction, and another one goes on with the next.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use outbox::{Batch, Lane, NewEvent, Origin, Outbox};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::scene::keys;
use crate::schedule::Dice;

/// So many are acknowledged at least: a schedule with fewer does not count.
const EVENTS: usize = 1_000;
const KEYS: usize = 15;
/// How the server tells a client that its session was ended.
const ENDED: [&str; 2] = ["57P01", "25P03"];

/// What the writers of a schedule share.
#[derive(Clone)]
pub(super) struct Work {
    keys: Arc<Vec<Uuid>>,
    acknowledged: Arc<AtomicUsize>,
    /// Where members go.
    batch: Arc<Mutex<Option<Batch>>>,
}

/// How many events there are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written {
    pub(super) logged: usize,
    /// Those of commits that were answered.
    pub(super) acknowledged: usize,
}

impl Work {
    pub(super) fn new() -> Self {
        Self {
            keys: Arc::new(keys(KEYS)),
            acknowledged: Arc::default(),
            batch: Arc::default(),
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.acknowledged() >= EVENTS
    }

    pub(super) fn acknowledged(&self) -> usize {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// Names the batch to which members are appended from now on, and answers the one before.
    pub(super) fn fill(&self, batch: Option<Batch>) -> Option<Batch> {
        std::mem::replace(&mut self.batch.lock().unwrap(), batch)
    }

    fn batch(&self) -> Option<Batch> {
        *self.batch.lock().unwrap()
    }
}

/// Writes until the work is done or the writer is asked to stop. A transaction that was broken off
/// is not tried again: whether it committed is unknown.
pub(super) async fn write(outbox: Outbox, stop: CancellationToken, work: Work, mut dice: Dice) {
    while !stop.is_cancelled() && !work.is_done() {
        match change(&outbox, &work, &mut dice).await {
            Ok(events) => {
                work.acknowledged.fetch_add(events, Ordering::SeqCst);
            }
            Err(sqlx::Error::Database(error)) => {
                let is_sealed = error.constraint() == Some("batch_is_open");
                let is_ended = error.code().is_some_and(|code| ENDED.contains(&&*code));
                assert!(is_sealed || is_ended, "{error}");
            }
            Err(_) => {}
        }
    }
}

/// Commits changes of aggregates with their events, and says how many; some are rolled back, some
/// stay open a while.
async fn change(outbox: &Outbox, work: &Work, dice: &mut Dice) -> Result<usize, sqlx::Error> {
    let keys = &work.keys;
    let lane = Lane::ALL[dice.below(2)];
    let is_member = lane == Lane::Interactive && dice.below(3) == 0;
    let origin = Origin {
        lane,
        batch: work.batch().filter(|_| is_member),
        ..Origin::of("customer")
    };
    let mut changed: Vec<Uuid> = (0..=dice.below(6))
        .map(|_| keys[dice.below(keys.len())])
        .collect();
    changed.sort();
    changed.dedup();
    let ending = dice.below(20);
    let mut tx = outbox.begin(origin).await?;
    for key in &changed {
        let version: i64 = sqlx::query_scalar(
            "insert into shop.aggregate (key, version) values ($1, 1)
            on conflict (key) do update set version = aggregate.version + 1
            returning version",
        )
        .bind(key)
        .fetch_one(&mut *tx)
        .await?;
        let locked = tx.locked(*key);
        let facts = json!({ "version": version });
        tx.append(locked, NewEvent::new("order.placed", 1, facts));
    }
    match ending {
        0 => return tx.rollback().await.map(|()| 0),
        1 => tokio::task::yield_now().await,
        2 => {
            let pause = sqlx::query("select pg_sleep(0.03)");
            pause.execute(&mut *tx).await?;
        }
        _ => {}
    }
    tx.commit().await.map_err(|error| error.0)?;
    Ok(changed.len())
}
