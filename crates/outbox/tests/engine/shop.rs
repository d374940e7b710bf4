//! Consumers of the shop: a notebook in the same database, and a carrier outside of it.

use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use outbox::{
    Act, Dedupe, Event, External, Failure, Load, NewEvent, Obsolete, Transactional, UnitOfWork,
};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::scene::until;

type Hook<I, O> = Arc<dyn Fn(I) -> BoxFuture<'static, O> + Send + Sync>;

/// Writes down each event it is given.
#[derive(Clone)]
pub(crate) struct Notebook {
    consumer: &'static str,
    /// Runs after the effects were written, and may fail or hang there.
    then: Hook<Vec<Event>, Result<(), Failure>>,
}

impl Notebook {
    pub(crate) fn of(consumer: &'static str) -> Self {
        Self::with(consumer, async |_| Ok(()))
    }

    pub(crate) fn with<F, R>(consumer: &'static str, then: F) -> Self
    where
        F: Fn(Vec<Event>) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        Self {
            consumer,
            then: Arc::new(move |events| Box::pin(then(events))),
        }
    }
}

impl Transactional for Notebook {
    async fn apply(&self, tx: &mut UnitOfWork, events: &[Event]) -> Result<Vec<Obsolete>, Failure> {
        for event in events {
            note(tx, self.consumer, event).await?;
        }
        (self.then)(events.to_vec()).await?;
        Ok(Vec::new())
    }
}

async fn note(tx: &mut UnitOfWork, consumer: &str, event: &Event) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into shop.handled (consumer, event_id, key, tick, id) values ($1, $2, $3, $4, $5)",
    )
    .bind(consumer)
    .bind(event.event_id)
    .bind(event.key)
    .bind(event.point.tick)
    .bind(event.point.id)
    .execute(&mut **tx)
    .await
    .map(drop)
}

/// Sends a parcel per event; the carrier knows a parcel by the event's id.
#[derive(Clone)]
pub(crate) struct Carrier {
    call: Hook<Event, Act<String>>,
    poison: Option<Uuid>,
}

impl Carrier {
    pub(crate) fn with<F, R>(call: F) -> Self
    where
        F: Fn(Event) -> R + Send + Sync + 'static,
        R: Future<Output = Act<String>> + Send + 'static,
    {
        Self {
            call: Arc::new(move |event| Box::pin(call(event))),
            poison: None,
        }
    }

    /// The same, but loading an event of this key fails.
    pub(crate) fn that_cannot_load(self, key: Uuid) -> Self {
        let poison = Some(key);
        Self { poison, ..self }
    }
}

impl External for Carrier {
    type Intent = Event;
    type Answer = String;
    const DEDUPE: Dedupe = Dedupe::NaturalKey;

    async fn load(
        &self,
        tx: &mut UnitOfWork,
        events: &[Event],
    ) -> Result<Vec<Load<Event>>, Failure> {
        let mut loads = Vec::new();
        for event in events {
            if self.poison == Some(event.key) {
                return Err(Failure::retry("not this key"));
            }
            let answer: Option<String> = sqlx::query_scalar(
                "insert into shop.parcel (event_id, key) values ($1, $2)
                 on conflict (event_id) do update set key = excluded.key
                 returning answer",
            )
            .bind(event.event_id)
            .bind(event.key)
            .fetch_one(&mut **tx)
            .await?;
            let call = || Load::Call(event.clone());
            loads.push(answer.map_or_else(call, |_| Load::Recorded));
        }
        Ok(loads)
    }

    async fn act(&self, intent: &Event) -> Act<String> {
        (self.call)(intent.clone()).await
    }

    async fn settle(
        &self,
        tx: &mut UnitOfWork,
        answers: Vec<(Event, String)>,
    ) -> Result<(), Failure> {
        for (event, answer) in answers {
            let moved = sqlx::query(
                "update shop.parcel set answer = $2 where event_id = $1 and answer is null",
            )
            .bind(event.event_id)
            .bind(answer)
            .execute(&mut **tx)
            .await?;
            if moved.rows_affected() == 1 {
                note(tx, "carrier", &event).await?;
                let locked = tx.locked(event.key);
                tx.append(
                    locked,
                    NewEvent::new("parcel.sent", 1, serde_json::json!({})),
                );
            }
        }
        Ok(())
    }
}

/// A carrier that knows no parcel again: a repeated call sends a second one.
#[derive(Clone)]
pub(crate) struct Forgetful(pub(crate) Carrier);

impl External for Forgetful {
    type Intent = Event;
    type Answer = String;
    const DEDUPE: Dedupe = Dedupe::AtLeastOnce;

    async fn load(
        &self,
        tx: &mut UnitOfWork,
        events: &[Event],
    ) -> Result<Vec<Load<Event>>, Failure> {
        self.0.load(tx, events).await
    }

    async fn act(&self, intent: &Event) -> Act<String> {
        self.0.act(intent).await
    }

    async fn settle(
        &self,
        tx: &mut UnitOfWork,
        answers: Vec<(Event, String)>,
    ) -> Result<(), Failure> {
        self.0.settle(tx, answers).await
    }
}

/// A gate that calls wait at, and a list of who came there.
#[derive(Clone)]
pub(crate) struct Gate {
    arrived: Arc<Mutex<Vec<Uuid>>>,
    open: Arc<Semaphore>,
}

impl Gate {
    pub(crate) fn closed() -> Self {
        Self {
            arrived: Arc::default(),
            open: Arc::new(Semaphore::new(0)),
        }
    }

    /// Notes the event and waits for the gate to open.
    pub(crate) async fn pass(&self, event: Uuid) {
        self.arrived.lock().unwrap().push(event);
        self.open.acquire().await.unwrap().forget();
    }

    pub(crate) fn arrived(&self) -> Vec<Uuid> {
        self.arrived.lock().unwrap().clone()
    }

    pub(crate) async fn until_arrived(&self, number: usize) {
        until("somebody came to the gate", async || {
            self.arrived().len() >= number
        })
        .await;
    }

    /// A carrier whose calls note the event and wait here.
    pub(crate) fn carrier(&self) -> Carrier {
        let gate = self.clone();
        Carrier::with(move |event| {
            let gate = gate.clone();
            async move {
                gate.pass(event.event_id).await;
                Act::Answer("sent".to_owned())
            }
        })
    }

    /// Lets all pass from now on.
    pub(crate) fn open(&self) {
        self.open.add_permits(Semaphore::MAX_PERMITS / 2);
    }

    /// Lets one pass.
    pub(crate) fn open_once(&self) {
        self.open.add_permits(1);
    }
}
