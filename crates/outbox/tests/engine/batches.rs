//! Batches: whoever appended many events is told once when all of them are handled.

mod followed;
mod killed;
mod rows;
mod trouble;

use outbox::batch::{State, progress};
use outbox::status::status;
use outbox::{Batch, ConsumerSpec, Event, Failure, NewBatch, NewEvent, Obsolete, Origin};
use outbox::{Transactional, UnitOfWork};
use uuid::Uuid;

use crate::host::Host;
use crate::scene::{Scene, impatient, keys, placed, until};
use crate::shop::Notebook;

const SUCCEEDED: &str = "select count(*) from outbox.event where topic = 'sale.over'";
const FAILED: &str = "select count(*) from outbox.event where topic = 'sale.broken'";
const COMPLETED: &str = "select count(*) from outbox.event where topic = 'sale.ended'";

fn sale() -> NewBatch {
    let told = |topic| NewEvent::new(topic, 1, serde_json::json!({}));
    NewBatch::named("sale")
        .on_success(told("sale.over"))
        .on_failure(told("sale.broken"))
        .on_completion(told("sale.ended"))
}

pub(crate) async fn open(scene: &Scene) -> Batch {
    let mut tx = scene.outbox.begin(Origin::of("shop")).await.unwrap();
    let batch = tx.open_batch(sale()).await.unwrap();
    tx.commit().await.unwrap();
    batch
}

pub(crate) async fn fill(scene: &Scene, batch: Batch, keys: &[Uuid]) {
    let mut tx = scene.outbox.begin(Origin::of("shop")).await.unwrap();
    for key in keys {
        let locked = tx.locked(*key);
        tx.append_to(batch, locked, placed());
    }
    tx.commit().await.unwrap();
}

pub(crate) async fn seal(scene: &Scene, batch: Batch) {
    let mut tx = scene.outbox.begin(Origin::of("shop")).await.unwrap();
    tx.seal(batch);
    tx.commit().await.unwrap();
}

async fn state(scene: &Scene, batch: Batch) -> State {
    let progress = progress(&scene.pool, batch.id()).await.unwrap();
    progress.unwrap().state
}

pub(crate) async fn until_state(scene: &Scene, batch: Batch, wanted: State) {
    until(&format!("the batch is {wanted:?}"), async || {
        state(scene, batch).await == wanted
    })
    .await;
}

/// A worker whose batch is done has passed everything; what is appended twice would be by now.
pub(crate) async fn told(scene: &Scene) -> [i64; 3] {
    let [over, broken, ended] = [SUCCEEDED, FAILED, COMPLETED].map(|sql| scene.count(sql));
    [over.await, broken.await, ended.await]
}

#[tokio::test]
async fn a_batch_tells_once_when_all_consumers_have_handled_it() {
    let scene = Scene::new().await;
    let _relay = Host::relay(&scene, "relay").await;
    let batch = open(&scene).await;
    for _ in 0..5 {
        fill(&scene, batch, &keys(40)).await;
    }
    let host = |name| {
        Host::worker(&scene, name, |worker| {
            for consumer in ["one", "two"] {
                worker.transactional(impatient(consumer, 1), Notebook::of(consumer));
            }
            // It reads none of the members, and still has to pass the seal.
            let spec = ConsumerSpec::new("other", &["nothing.happened"]);
            worker.transactional(spec, Notebook::of("other"));
        })
    };
    let (left, right) = (host("left").await, host("right").await);
    scene.until_handled("one", 200).await;
    assert_eq!(state(&scene, batch).await, State::Open);

    seal(&scene, batch).await;
    until_state(&scene, batch, State::Succeeded).await;

    let handled = scene.count("select count(*) from shop.handled").await;
    assert_eq!((told(&scene).await, handled), ([1, 0, 1], 400));
    left.stop().await;
    right.stop().await;
}

#[tokio::test]
async fn the_callback_reaches_a_consumer_under_the_id_of_the_batch() {
    let scene = Scene::new().await;
    let _relay = Host::relay(&scene, "relay").await;
    let batch = open(&scene).await;
    fill(&scene, batch, &keys(3)).await;
    seal_when_registered(&scene, batch).await;

    let worker = Host::worker(&scene, "worker", |worker| {
        worker.transactional(impatient("notebook", 1), Notebook::of("notebook"));
        let spec = ConsumerSpec::new("closer", &["sale.over"]);
        worker.transactional(spec, Notebook::of("closer"));
    })
    .await;
    scene.until_handled("closer", 1).await;

    let keys: Vec<_> = scene.handled().await;
    let closer = keys.iter().find(|row| row.0 == "closer").unwrap();
    assert_eq!(closer.2, batch.id());
    worker.stop().await;
}

async fn seal_when_registered(scene: &Scene, batch: Batch) {
    for spec in [
        impatient("notebook", 1),
        ConsumerSpec::new("closer", &["sale.over"]),
    ] {
        outbox::register(&scene.pool, &spec).await.unwrap();
    }
    seal(scene, batch).await;
}

/// Appends two members for each of the first generations.
struct Breeder;

impl Transactional for Breeder {
    async fn apply(&self, tx: &mut UnitOfWork, events: &[Event]) -> Result<Vec<Obsolete>, Failure> {
        for event in events {
            let left = event.payload.to_value()["left"].as_i64().unwrap_or(3);
            for _ in 0..if left > 0 { 2 } else { 0 } {
                let locked = tx.locked(outbox::ids::new());
                let facts = serde_json::json!({ "left": left - 1 });
                tx.append(locked, NewEvent::new("order.placed", 1, facts));
            }
        }
        Ok(Vec::new())
    }
}

#[tokio::test]
async fn members_of_members_are_waited_for_wave_after_wave() {
    let scene = Scene::new().await;
    let _relay = Host::relay(&scene, "relay").await;
    let batch = open(&scene).await;
    fill(&scene, batch, &keys(10)).await;
    outbox::register(&scene.pool, &impatient("breeder", 1))
        .await
        .unwrap();
    seal(&scene, batch).await;

    let host = |name| {
        Host::worker(&scene, name, |worker| {
            worker.transactional(impatient("breeder", 1), Breeder);
        })
    };
    let (left, right) = (host("left").await, host("right").await);
    until_state(&scene, batch, State::Succeeded).await;

    let members = "select count(*) from outbox.event where topic = 'order.placed'";
    assert_eq!(scene.count(members).await, 10 + 20 + 40 + 80);
    let last = "select min(id) from outbox.event where topic = 'sale.over'";
    let later = "select max(id) from outbox.event where topic = 'order.placed'";
    assert!(scene.count(last).await > scene.count(later).await);
    assert!(scene.count("select wave::bigint from outbox.batch").await > 1);
    assert_eq!(told(&scene).await, [1, 0, 1]);
    left.stop().await;
    right.stop().await;
}

#[tokio::test]
async fn a_sealed_batch_takes_no_member_from_outside_nor_any_of_the_other_lane() {
    let scene = Scene::new().await;
    outbox::register(&scene.pool, &impatient("notebook", 1))
        .await
        .unwrap();
    let batch = open(&scene).await;
    let refused = async |origin| {
        let mut tx = scene.outbox.begin(origin).await.unwrap();
        let locked = tx.locked(keys(1)[0]);
        tx.append_to(batch, locked, placed());
        let committed = tx.commit().await;
        let refusal = committed.expect_err("the batch refuses the member");
        format!("{:?}", refusal.0)
    };

    let lane = refused(Origin::of("shop").bulk()).await;
    seal(&scene, batch).await;
    let late = refused(Origin::of("shop")).await;

    assert!(lane.contains("batch_lane_is_its_own"), "{lane}");
    assert!(late.contains("batch_is_open"), "{late}");
    let members = "select count(*) from outbox.event where topic = 'order.placed'";
    assert_eq!(scene.count(members).await, 0);
}

#[tokio::test]
async fn a_seal_waits_for_who_is_appending_members() {
    let scene = Scene::new().await;
    let _relay = Host::relay(&scene, "relay").await;
    outbox::register(&scene.pool, &impatient("notebook", 1))
        .await
        .unwrap();
    let batch = open(&scene).await;
    let mut appending = scene.connection().await;
    let join = format!(
        "begin; select outbox.join_batch('{}', 0::smallint, false)",
        batch.id()
    );
    crate::scene::run(&mut appending, &join).await;
    let outbox = scene.outbox.clone();
    let sealing = tokio::spawn(async move {
        let mut tx = outbox.begin(Origin::of("shop")).await.unwrap();
        tx.seal(batch);
        tx.commit().await.unwrap();
    });
    let waiting = "select count(*) from shop.session where wait_event_type = 'Lock'";
    scene.until_count(waiting, 1).await;
    assert!(!sealing.is_finished());

    crate::scene::run(&mut appending, "commit").await;
    sealing.await.unwrap();
    assert_eq!(state(&scene, batch).await, State::Sealed);
}

#[tokio::test]
async fn progress_tells_how_far_each_consumer_has_come() {
    let scene = Scene::new().await;
    let _relay = Host::relay(&scene, "relay").await;
    let batch = open(&scene).await;
    outbox::register(&scene.pool, &impatient("notebook", 1))
        .await
        .unwrap();
    fill(&scene, batch, &keys(100)).await;
    seal(&scene, batch).await;
    let before = progress(&scene.pool, batch.id()).await.unwrap().unwrap();

    let worker = Host::worker(&scene, "worker", |worker| {
        worker.transactional(impatient("notebook", 1), Notebook::of("notebook"));
    })
    .await;
    until_state(&scene, batch, State::Succeeded).await;

    let after = progress(&scene.pool, batch.id()).await.unwrap().unwrap();
    let share = |progress: &outbox::batch::Progress| progress.readers[0].per_mille;
    assert_eq!((share(&before), share(&after)), (0, 1_000));
    assert_eq!((before.state, after.wave), (State::Sealed, 1));
    assert!(progress(&scene.pool, keys(1)[0]).await.unwrap().is_none());
    worker.stop().await;
}

#[tokio::test]
async fn what_a_batch_still_waits_for_is_told_until_it_is_done() {
    let scene = Scene::new().await;
    let told = async || status(&scene.pool).await.unwrap().batches;
    outbox::register(&scene.pool, &impatient("notebook", 1))
        .await
        .unwrap();
    let batch = open(&scene).await;
    fill(&scene, batch, &keys(30)).await;
    scene.orders(&keys(5), Origin::of("customer")).await;
    scene.publish().await;
    assert_eq!(
        (told().await[0].remaining, told().await[0].state.as_str()),
        (30, "open")
    );

    let _relay = Host::relay(&scene, "relay").await;
    let worker = Host::worker(&scene, "worker", |worker| {
        worker.transactional(impatient("notebook", 1), Notebook::of("notebook"));
    })
    .await;
    scene.until_handled("notebook", 35).await;
    assert_eq!(told().await[0].remaining, 0);
    seal(&scene, batch).await;
    until_state(&scene, batch, State::Succeeded).await;

    assert_eq!(told().await, []);
    worker.stop().await;
}
