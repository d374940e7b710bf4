//! External handlers: load, act, settle. What happened outside is recorded, once, whoever wins.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outbox::{Act, ConsumerSpec, Event, Origin};
use uuid::Uuid;

use crate::host::Host;
use crate::scene::{Scene, impatient, keys, keys_of_one_shard, until};
use crate::shop::{Carrier, Forgetful, Gate};

fn spec() -> ConsumerSpec {
    impatient("carrier", 5)
}

fn sent(_: Event) -> std::future::Ready<Act<String>> {
    std::future::ready(Act::Answer("sent".to_owned()))
}

/// A carrier whose calls for one event wait at a gate, after they took effect.
fn gated(gate: &Gate, slow: impl Fn(&Event) -> bool + Send + Sync + 'static) -> Carrier {
    let gate = gate.clone();
    Carrier::with(move |event| {
        let (gate, wait) = (gate.clone(), slow(&event));
        async move {
            if wait {
                gate.pass(event.event_id).await;
            }
            sent(event).await
        }
    })
}

const DELIVERIES: &str = "select count(*) from outbox.delivery";
const ANSWERED: &str = "select count(*) from shop.parcel where answer is not null";

#[tokio::test]
async fn each_event_is_called_for_once_and_followed_up_once() {
    let scene = Scene::new().await;
    let _relay = Host::relay(&scene, "relay").await;
    let called = Arc::new(Mutex::new(Vec::new()));
    let calls = Arc::clone(&called);
    let carrier = Carrier::with(move |event| {
        calls.lock().unwrap().push(event.event_id);
        sent(event)
    });
    let _worker = Host::worker(&scene, "worker", |w| w.external(spec(), carrier)).await;

    let mut events = Vec::new();
    for _ in 0..10 {
        events.extend(scene.orders(&keys(5), Origin::of("customer")).await);
    }

    scene.until_handled("carrier", 50).await;
    let followed = "select count(*) from outbox.event where topic = 'parcel.sent'";
    assert_eq!(scene.count(followed).await, 50);
    let mut called = called.lock().unwrap().clone();
    called.sort_unstable();
    events.sort_unstable();
    assert_eq!(called, events);
    assert_eq!(scene.count(DELIVERIES).await, 0);
}

/// Who is being called for, and who was when another call of the key began.
#[derive(Default)]
struct Line {
    inside: HashSet<Uuid>,
    order: HashMap<Uuid, Vec<Uuid>>,
    overlaps: usize,
}

#[tokio::test]
async fn two_events_of_a_key_in_one_batch_neither_overlap_nor_swap() {
    let scene = Scene::new().await;
    let line = Arc::new(Mutex::new(Line::default()));
    let shared = Arc::clone(&line);
    let carrier = Carrier::with(move |event| {
        let line = Arc::clone(&shared);
        async move {
            let alone = line.lock().unwrap().inside.insert(event.key);
            outbox::clock::pause(Duration::from_millis(20)).await;
            let mut line = line.lock().unwrap();
            line.overlaps += usize::from(!alone);
            line.order
                .entry(event.key)
                .or_default()
                .push(event.event_id);
            line.inside.remove(&event.key);
            Act::Answer("sent".to_owned())
        }
    });
    let keys = keys_of_one_shard(5);
    let three_of_each: Vec<_> = keys.iter().cycle().take(15).copied().collect();
    let events = scene.orders(&three_of_each, Origin::of("customer")).await;
    scene.publish().await;

    let _worker = Host::worker(&scene, "worker", |w| w.external(spec(), carrier)).await;

    scene.until_handled("carrier", 15).await;
    let line = line.lock().unwrap();
    assert_eq!(line.overlaps, 0, "calls of a key do not overlap");
    for (at, key) in keys.iter().enumerate() {
        let expected: Vec<_> = events.iter().skip(at).step_by(5).copied().collect();
        assert_eq!(line.order[key], expected);
    }
}

#[tokio::test]
async fn nothing_is_held_while_a_call_runs() {
    let scene = Scene::new().await;
    let gate = Gate::closed();
    let carrier = gated(&gate, |_| true);
    let worker = Host::worker(&scene, "worker", |w| w.external(spec(), carrier)).await;
    scene.orders(&keys(8), Origin::of("customer")).await;
    scene.publish().await;
    gate.until_arrived(8).await;

    // Its loops look at the log meanwhile: what is held for the calls would be held all the time.
    let held = "select count(*) from shop.session
        where application_name = 'worker' and state like 'idle in transaction%'
            and state_change < clock_timestamp() - interval '100 milliseconds'";
    outbox::clock::pause(Duration::from_millis(150)).await;
    assert_eq!(scene.count(held).await, 0);
    until("no connection is in use", async || worker.busy() == 0).await;
    gate.open();

    scene.until_handled("carrier", 8).await;
}

/// Lets the time of all claims run out, as if their owner had been silent for long.
async fn expire_claims(scene: &Scene) {
    scene
        .sql(
            "update outbox.position set claim_until = now() - interval '1 second'
             where claim_until is not null",
        )
        .await;
}

#[tokio::test]
async fn a_call_cut_short_by_a_crash_is_made_again_with_the_same_key() {
    let scene = Scene::new().await;
    let gate = Gate::closed();
    let first = Host::worker(&scene, "first", |w| {
        w.external(spec(), gated(&gate, |_| true))
    });
    let first = first.await;
    let event = scene.order(keys(1)[0]).await;
    scene.publish().await;
    gate.until_arrived(1).await;

    first.kill();
    scene.forget_members().await;
    expire_claims(&scene).await;
    let again = Gate::closed();
    again.open();
    let second = gated(&again, |_| true);
    let _second = Host::worker(&scene, "second", |w| w.external(spec(), second)).await;

    scene.until_handled("carrier", 1).await;
    assert_eq!(
        (gate.arrived(), again.arrived()),
        (vec![event], vec![event])
    );
    scene
        .until_count(
            "select count(*) from outbox.event where topic = 'parcel.sent'",
            1,
        )
        .await;
}

#[tokio::test]
async fn what_was_recorded_before_a_crash_is_not_called_for_again() {
    let scene = Scene::new().await;
    let key = keys(1)[0];
    let events = scene.orders(&[key, key], Origin::of("customer")).await;
    scene.publish().await;
    let (gate, second) = (Gate::closed(), events[1]);
    let slow = gated(&gate, move |event| event.event_id == second);
    let first = Host::worker(&scene, "first", |w| w.external(spec(), slow)).await;
    gate.until_arrived(1).await;
    scene.until_count(ANSWERED, 1).await;

    first.kill();
    scene.forget_members().await;
    expire_claims(&scene).await;
    let again = Gate::closed();
    again.open();
    let carrier = gated(&again, |_| true);
    let _second = Host::worker(&scene, "second", |w| w.external(spec(), carrier)).await;

    scene.until_handled("carrier", 2).await;
    assert_eq!(again.arrived(), [second]);
    assert_eq!(scene.handled_by("carrier").await, events);
}

/// Nobody sees another's heartbeat here, so it is the deadline alone that tells.
#[tokio::test]
async fn a_live_claim_is_respected_and_a_dead_one_taken_over() {
    let scene = Scene::new().await;
    scene.let_everyone_believe_to_be_alone().await;
    let (gate, rivals) = (Gate::closed(), Gate::closed());
    rivals.open();
    let _owner = Host::worker(&scene, "owner", |w| {
        w.external(spec(), Forgetful(gate.carrier()))
    })
    .await;
    let event = scene.order(keys(1)[0]).await;
    scene.publish().await;
    gate.until_arrived(1).await;

    let rival = Forgetful(rivals.carrier());
    let _rival = Host::worker(&scene, "rival", |w| w.external(spec(), rival)).await;
    // The rival tries and is refused, again and again.
    outbox::clock::pause(Duration::from_millis(500)).await;
    assert!(rivals.arrived().is_empty());
    expire_claims(&scene).await;
    rivals.until_arrived(1).await;
    scene.until_handled("carrier", 1).await;
    gate.open();

    let later = scene.order(keys(1)[0]).await;
    scene.publish().await;
    scene.until_handled("carrier", 2).await;
    assert_eq!(
        scene.handled_by("carrier").await,
        [event, later],
        "the late answer moved nothing"
    );
}

/// A captured payment is never rolled back because a rival moved on.
#[tokio::test]
async fn an_answer_is_recorded_though_the_shard_was_lost() {
    let scene = Scene::new().await;
    let gate = Gate::closed();
    let carrier = gated(&gate, |_| true);
    let _worker = Host::worker(&scene, "worker", |w| w.external(spec(), carrier)).await;
    scene.order(keys(1)[0]).await;
    scene.publish().await;
    gate.until_arrived(1).await;

    // A rival passes the event and knows nothing of the call.
    scene
        .sql(
            "insert into outbox.position (consumer, generation, lane, shard, n, tick, id, passed)
             select consumer, generation, lane, shard, n + 1, 1, 1, 1 from outbox.position
             where claim_until is not null",
        )
        .await;
    gate.open();

    scene.until_handled("carrier", 1).await;
    assert_eq!(scene.count(ANSWERED).await, 1);
}
