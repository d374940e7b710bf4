//! Transactional handlers: position, effects and follow-up events are one transaction, so effects
//! happen exactly once whatever fails.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use outbox::{ConsumerSpec, Event, Failure, NewEvent, Obsolete, Origin, Transactional, UnitOfWork};
use uuid::Uuid;

use crate::host::Host;
use crate::scene::{Scene, impatient, keys, keys_of_one_shard};
use crate::shop::{Gate, Notebook};

fn spec() -> ConsumerSpec {
    impatient("notebook", 20)
}

async fn deliveries(scene: &Scene) -> i64 {
    scene.count("select count(*) from outbox.delivery").await
}

/// The events of each key, in their order.
fn by_key(handled: &[(String, Uuid, Uuid)]) -> HashMap<Uuid, Vec<Uuid>> {
    let mut keys: HashMap<Uuid, Vec<Uuid>> = HashMap::new();
    for (_, event, key) in handled {
        keys.entry(*key).or_default().push(*event);
    }
    keys
}

#[tokio::test]
async fn effects_happen_once_and_in_order_whatever_fails() {
    let scene = Scene::new().await;
    let calls = AtomicUsize::new(0);
    let flaky = Notebook::with("notebook", move |_| {
        let call = calls.fetch_add(1, Ordering::Relaxed);
        async move {
            assert!(call % 7 != 3, "every seventh call panics");
            if call % 3 == 1 {
                Err(Failure::retry("every third fails"))
            } else {
                Ok(())
            }
        }
    });
    let _worker = Host::worker(&scene, "worker", |w| w.transactional(spec(), flaky)).await;
    let keys = keys(6);
    let mut appended: HashMap<Uuid, Vec<Uuid>> = HashMap::new();

    for n in 0..60 {
        let key = keys[n % keys.len()];
        appended
            .entry(key)
            .or_default()
            .push(scene.order(key).await);
        if n % 4 == 0 {
            scene.publish().await;
        }
    }
    scene.publish().await;

    scene.until_handled("notebook", 60).await;
    assert_eq!(by_key(&scene.handled().await), appended);
    assert_eq!(deliveries(&scene).await, 0);
}

#[tokio::test]
async fn a_connection_that_breaks_in_the_middle_repeats_nothing_and_blames_nobody() {
    let scene = Scene::new().await;
    let gate = Gate::closed();
    let (at, once) = (
        gate.clone(),
        ConsumerSpec {
            shards: 1,
            ..impatient("notebook", 1)
        },
    );
    let slow = Notebook::with("notebook", move |events| {
        let at = at.clone();
        async move {
            at.pass(events[0].event_id).await;
            Ok(())
        }
    });
    let worker = Host::worker(&scene, "worker", |w| w.transactional(once, slow)).await;
    let event = scene.order(keys(1)[0]).await;
    scene.publish().await;

    for broken in 1..=3 {
        gate.until_arrived(broken).await;
        worker.end_sessions(&scene).await;
        gate.open_once();
    }
    gate.until_arrived(4).await;
    assert_eq!(
        deliveries(&scene).await,
        0,
        "an outage is no attempt of the event"
    );
    gate.open();

    scene.until_handled("notebook", 1).await;
    assert_eq!(scene.handled_by("notebook").await, [event]);
    assert_eq!(deliveries(&scene).await, 0);
}

#[tokio::test]
async fn an_outage_in_a_later_attempt_is_not_counted() {
    let scene = Scene::new().await;
    let gate = Gate::closed();
    let (at, calls) = (gate.clone(), Arc::new(AtomicUsize::new(0)));
    let slow = Notebook::with("notebook", move |events| {
        let (at, first) = (at.clone(), calls.fetch_add(1, Ordering::Relaxed) == 0);
        async move {
            if first {
                return Err(Failure::retry("the first attempt fails"));
            }
            at.pass(events[0].event_id).await;
            Ok(())
        }
    });
    let spec = impatient("notebook", 2);
    let worker = Host::worker(&scene, "worker", |w| w.transactional(spec, slow)).await;
    scene.order(keys(1)[0]).await;
    scene.publish().await;

    for broken in 1..=2 {
        gate.until_arrived(broken).await;
        worker.end_sessions(&scene).await;
        gate.open_once();
    }
    gate.open();

    scene.until_handled("notebook", 1).await;
    assert_eq!(deliveries(&scene).await, 0);
}

#[tokio::test]
async fn of_a_batch_that_fails_only_the_culprit_waits() {
    let scene = Scene::new().await;
    let keys = keys_of_one_shard(10);
    let culprit = keys[5];
    let picky = Notebook::with("notebook", move |events| async move {
        let found = events.iter().any(|event| event.key == culprit);
        if found {
            Err(Failure::retry("not this one"))
        } else {
            Ok(())
        }
    });
    let events = scene.orders(&keys, Origin::of("customer")).await;
    scene.publish().await;

    let spec = impatient("notebook", 3);
    let _worker = Host::worker(&scene, "worker", |w| w.transactional(spec, picky)).await;

    let dead = scene.until_dead(1).await;
    assert_eq!((dead[0].event.event_id, dead[0].attempt), (events[5], 3));
    scene.until_handled("notebook", 9).await;
    let mut others = events.clone();
    others.remove(5);
    assert_eq!(
        scene.handled_by("notebook").await,
        others,
        "each once, in order"
    );
    assert_eq!(deliveries(&scene).await, 1);
}

#[tokio::test]
async fn a_panic_counts_as_an_attempt_and_the_consumer_goes_on() {
    let scene = Scene::new().await;
    let keys = keys_of_one_shard(2);
    let culprit = keys[0];
    let picky = Notebook::with("notebook", move |events| async move {
        assert!(
            events.iter().all(|event| event.key != culprit),
            "not this one"
        );
        Ok(())
    });
    scene.orders(&keys, Origin::of("customer")).await;
    scene.publish().await;

    let spec = impatient("notebook", 3);
    let _worker = Host::worker(&scene, "worker", |w| w.transactional(spec, picky)).await;

    let dead = scene.until_dead(1).await;
    assert_eq!((dead[0].event.key, dead[0].attempt), (culprit, 3));
    assert!(
        dead[0].reason.contains("panicked: not this one"),
        "{}",
        dead[0].reason
    );
    scene.until_handled("notebook", 1).await;
}

/// A handler that goes on after a statement of its own has failed.
struct Careless;

impl Transactional for Careless {
    async fn apply(&self, tx: &mut UnitOfWork, events: &[Event]) -> Result<Vec<Obsolete>, Failure> {
        let failed = sqlx::query("select 1 / 0").execute(&mut **tx).await;
        failed.unwrap_err();
        assert!(!events.is_empty());
        Ok(Vec::new())
    }
}

/// It would be taken for an outage, and tried again and again while its shard waits.
#[tokio::test]
async fn a_failure_that_a_handler_overlooks_is_its_events_fault() {
    let scene = Scene::new().await;
    scene.order(keys(1)[0]).await;
    scene.publish().await;

    let spec = impatient("careless", 2);
    let _worker = Host::worker(&scene, "worker", |w| w.transactional(spec, Careless)).await;

    assert_eq!(scene.until_dead(1).await[0].attempt, 2);
}

/// Finds every event overtaken, except that it forwards those of one topic.
struct Forwarder;

impl Transactional for Forwarder {
    async fn apply(&self, tx: &mut UnitOfWork, events: &[Event]) -> Result<Vec<Obsolete>, Failure> {
        let mut obsolete = Vec::new();
        for event in events {
            if event.topic == "order.placed" {
                let locked = tx.locked(event.key);
                tx.append(
                    locked,
                    NewEvent::new("order.seen", 1, serde_json::json!({})),
                );
            } else {
                let reason = "the order is gone".to_owned();
                obsolete.push(Obsolete {
                    event_id: event.event_id,
                    reason,
                });
            }
        }
        Ok(obsolete)
    }
}

#[tokio::test]
async fn follow_ups_name_their_cause_and_what_is_obsolete_counts_as_success() {
    let scene = Scene::new().await;
    let _relay = Host::relay(&scene, "relay").await;
    let topics = &["order.placed", "order.seen"];
    let spec = ConsumerSpec {
        topics,
        ..impatient("forwarder", 2)
    };
    let _worker = Host::worker(&scene, "worker", |w| w.transactional(spec, Forwarder)).await;

    let cause = scene.order(keys(1)[0]).await;

    scene
        .until_count("select count(*) from outbox.obsolete", 1)
        .await;
    let (actor, caused_by, follow_up): (String, Uuid, Uuid) = sqlx::query_as(
        "select actor, caused_by, event_id from outbox.event where topic = 'order.seen'",
    )
    .fetch_one(&scene.pool)
    .await
    .unwrap();
    assert_eq!((actor.as_str(), caused_by), ("consumer forwarder", cause));
    let (obsolete, reason): (Uuid, String) =
        sqlx::query_as("select event_id, reason from outbox.obsolete")
            .fetch_one(&scene.pool)
            .await
            .unwrap();
    assert_eq!(
        (obsolete, reason.as_str()),
        (follow_up, "the order is gone")
    );
    assert_eq!(deliveries(&scene).await, 0);
}

/// How many transactions moved shards on over events of theirs: now and then one has none.
const MOVES: &str =
    "select count(distinct xmin::text) from outbox.position where passed > 0 and lane = 0";

/// The control is a crowd: each shard has a transaction of its own there.
#[tokio::test]
async fn a_few_events_of_many_shards_are_one_transaction() {
    for (number, moves) in [(40, 1), (400, 8)] {
        let scene = Scene::new().await;
        scene.orders(&keys(number), Origin::of("customer")).await;
        scene.publish().await;

        let worker = Host::worker(&scene, "worker", |worker| {
            worker.transactional(spec(), Notebook::of("notebook"));
        })
        .await;
        scene.until_handled("notebook", number).await;
        worker.stop().await;

        assert_eq!(scene.count(MOVES).await, moves);
    }
}
