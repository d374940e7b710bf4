//! The consumer, led by hand: load, act and settle one after the other, with whatever the test does
//! in between, and events in the order of the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use billing::gateway::Gateways;
use billing::payment::Outcome;
use billing_workers::{Call, Payments};
use outbox::{Act, Event, External as _, Load, Recorded};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use uuid::Uuid;

use crate::world::{PATIENCE, World};

/// As often as a worker would hand an event over again in a short while.
const ATTEMPTS_MAX: usize = 20;

pub(crate) struct Hand {
    pub(crate) world: Arc<World>,
    consumer: Payments,
    seen: AtomicI64,
}

impl Hand {
    pub(crate) fn of(world: &Arc<World>) -> Arc<Self> {
        Self::with(world, world.gateways())
    }

    /// With other gateways than the world's.
    pub(crate) fn with(world: &Arc<World>, gateways: Gateways) -> Arc<Self> {
        Arc::new(Self {
            world: Arc::clone(world),
            consumer: Payments::new(world.outbox.clone(), gateways),
            seen: AtomicI64::new(0),
        })
    }

    /// What is new for the consumer, in the order of the log.
    pub(crate) async fn news(&self) -> Vec<Event> {
        let rows = sqlx::query(
            "select id, event_id, topic, schema_version, key, part, at, payload, actor
            from outbox.event
            where topic in ('invoice.finalized', 'payment.wanted', 'payment.unresolved')
                and id > $1
            order by id",
        );
        let rows = rows.bind(self.seen.load(Ordering::SeqCst));
        let rows = rows.fetch_all(self.world.pool()).await.unwrap();
        if let Some(last) = rows.last() {
            self.seen.store(last.get("id"), Ordering::SeqCst);
        }
        rows.iter().map(event).collect()
    }

    pub(crate) async fn load(&self, event: &Event) -> Load<Call> {
        self.load_all(std::slice::from_ref(event)).await.remove(0)
    }

    pub(crate) async fn load_all(&self, events: &[Event]) -> Vec<Load<Call>> {
        let mut tx = self.world.begin().await;
        let loads = self.consumer.load(&mut tx, events).await.unwrap();
        tx.commit().await.unwrap();
        loads
    }

    /// Loads an event for which there must be a call.
    pub(crate) async fn call(&self, event: &Event) -> Call {
        match self.load(event).await {
            Load::Call(call) => call,
            other => panic!("no call: {other:?}"),
        }
    }

    pub(crate) async fn act(&self, call: &Call) -> Act<Option<Outcome>> {
        self.consumer.act(call).await
    }

    pub(crate) async fn settle(&self, call: Call, answer: Option<Outcome>) {
        let mut tx = self.world.begin().await;
        let settled = self.consumer.settle(&mut tx, vec![(call, answer)]).await;
        settled.unwrap();
        tx.commit().await.unwrap();
    }

    /// Handles an event as a worker does, as often as it takes.
    pub(crate) async fn handle(&self, event: &Event) {
        for _ in 0..ATTEMPTS_MAX {
            let Load::Call(call) = self.load(event).await else {
                return;
            };
            match self.act(&call).await {
                Act::Answer(answer) => return self.settle(call, answer).await,
                Act::Unavailable { .. } | Act::Retry { .. } => {}
                Act::Dead(reason) => panic!("{reason}"),
            }
        }
        panic!("{} was not handled", event.topic);
    }

    /// Handles what is there, and what follows from it, until nothing is left.
    pub(crate) async fn drain(&self) {
        loop {
            let news = self.news().await;
            if news.is_empty() {
                return;
            }
            for event in news {
                self.handle(&event).await;
            }
        }
    }

    /// Asks for a payment, as the timer does that an unknown outcome leaves.
    pub(crate) async fn ask(&self, payment: Uuid) {
        self.handle(&unresolved(payment)).await;
    }

    /// Handles an event until the gate stops a call, or to the end; then the process dies.
    pub(crate) async fn die_handling(self: &Arc<Self>, event: &Event) {
        let (hand, event) = (Arc::clone(self), event.clone());
        let mut handling: JoinHandle<()> = tokio::spawn(async move { hand.handle(&event).await });
        let stopped = async {
            tokio::select! {
                () = self.world.gate.stopped.notified() => handling.abort(),
                ended = &mut handling => ended.unwrap(),
            }
        };
        within(PATIENCE, stopped).await;
        self.world.gate.play_no_more();
    }
}

async fn within(patience: Duration, what: impl Future<Output = ()>) {
    timeout(patience, what).await.unwrap();
}

/// The event that asks for a payment.
pub(crate) fn unresolved(payment: Uuid) -> Event {
    let payload = serde_json::json!({ "payment_id": payment });
    Recorded::unlogged("payment.unresolved", 1, payment, payload).into()
}

fn event(row: &PgRow) -> Event {
    Recorded {
        event_id: row.get("event_id"),
        at: row.get("at"),
        ..Recorded::unlogged(
            row.get("topic"),
            row.get("schema_version"),
            row.get("key"),
            row.get("payload"),
        )
    }
    .into()
}
