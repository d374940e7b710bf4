//! What handlers append belongs to the batch whose members they handle, however events of several
//! batches lie beside each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use outbox::batch::State;
use outbox::delivery::dead::{Choice, redrive};
use outbox::{Act, Dedupe, Event, External, Failure, Load, NewEvent, Obsolete, Origin};
use outbox::{Transactional, UnitOfWork};
use serde_json::json;

use super::{fill, open, seal, told, until_state};
use crate::host::Host;
use crate::scene::{Scene, by, impatient, keys, keys_of_one_shard, placed};

fn sequel(event: &Event) -> NewEvent {
    NewEvent::new("order.shipped", 1, json!({ "parent": event.event_id }))
}

/// Appends a sequel of each event.
struct Sequels {
    /// Whether it fails for now.
    is_ill: Arc<AtomicBool>,
}

impl Sequels {
    fn well() -> Self {
        let is_ill = Arc::default();
        Self { is_ill }
    }
}

impl Transactional for Sequels {
    async fn apply(&self, tx: &mut UnitOfWork, events: &[Event]) -> Result<Vec<Obsolete>, Failure> {
        if self.is_ill.load(Ordering::SeqCst) {
            return Err(Failure::retry("not now"));
        }
        for event in events {
            let locked = tx.locked(outbox::ids::new());
            tx.append(locked, sequel(event));
        }
        Ok(Vec::new())
    }
}

/// The same, of a consumer with effects elsewhere.
struct Abroad;

impl External for Abroad {
    type Intent = Event;
    type Answer = ();

    const DEDUPE: Dedupe = Dedupe::IdempotentSink;

    async fn load(
        &self,
        _: &mut UnitOfWork,
        events: &[Event],
    ) -> Result<Vec<Load<Event>>, Failure> {
        Ok(events.iter().cloned().map(Load::Call).collect())
    }

    async fn act(&self, _: &Event) -> Act<()> {
        Act::Answer(())
    }

    async fn settle(&self, tx: &mut UnitOfWork, answers: Vec<(Event, ())>) -> Result<(), Failure> {
        for (event, ()) in answers {
            let locked = tx.locked(outbox::ids::new());
            tx.append(locked, sequel(&event));
        }
        Ok(())
    }
}

const SEQUELS: &str = "select count(*) from outbox.event where topic = 'order.shipped'";
const ASTRAY: &str = "select count(*) from outbox.event as sequel
    join outbox.event as parent
        on parent.event_id = (sequel.payload::jsonb ->> 'parent')::uuid
    where sequel.batch_id is distinct from parent.batch_id";

#[tokio::test]
async fn a_sequel_belongs_to_the_batch_of_what_it_follows() {
    let scene = Scene::new().await;
    let (left, right) = (open(&scene).await, open(&scene).await);
    let keys = keys_of_one_shard(12);
    for (n, key) in keys.iter().cycle().take(90).enumerate() {
        let mut tx = scene.outbox.begin(Origin::of("shop")).await.unwrap();
        let locked = tx.locked(*key);
        match n / 2 % 3 {
            0 => tx.append_to(left, locked, placed()),
            1 => tx.append_to(right, locked, placed()),
            _ => tx.append(locked, placed()),
        };
        tx.commit().await.unwrap();
    }
    let _relay = Host::relay(&scene, "relay").await;
    let worker = Host::worker(&scene, "worker", |worker| {
        worker.transactional(impatient("here", 1), Sequels::well());
        worker.external(impatient("abroad", 1), Abroad);
    })
    .await;
    scene.until_count(SEQUELS, 180).await;

    assert_eq!(scene.count(ASTRAY).await, 0);
    for batch in [left, right] {
        seal(&scene, batch).await;
        until_state(&scene, batch, State::Succeeded).await;
    }
    worker.stop().await;
}

#[tokio::test]
async fn what_is_redriven_after_the_end_may_still_have_sequels() {
    let scene = Scene::new().await;
    let _relay = Host::relay(&scene, "relay").await;
    let is_ill = Arc::new(AtomicBool::new(true));
    let handler = Sequels {
        is_ill: Arc::clone(&is_ill),
    };
    let worker = Host::worker(&scene, "worker", |worker| {
        worker.transactional(impatient("here", 1), handler);
    })
    .await;
    let batch = open(&scene).await;
    fill(&scene, batch, &keys(1)).await;
    seal(&scene, batch).await;
    until_state(&scene, batch, State::Failed).await;

    is_ill.store(false, Ordering::SeqCst);
    redrive(&scene.pool, &Choice::default(), None, &by())
        .await
        .unwrap();

    scene.until_count(SEQUELS, 1).await;
    assert_eq!(told(&scene).await, [0, 1, 1], "the end is told once");
    worker.stop().await;
}
