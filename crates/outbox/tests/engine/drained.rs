//! What a test of somebody's product may lean on: it handles everything, waits for nothing, and
//! time passes when it says so.

use std::time::Duration;

use outbox::operation::{self, Paused};
use outbox::testing::{self, DrainError, Log};
use outbox::{ConsumerSpec, Failure, NewEvent, Origin, Worker, WorkerConfig};

use crate::scene::{Scene, by, keys, placed};
use crate::shop::{Carrier, Notebook};

const HOUR: Duration = Duration::from_secs(3600);

fn worker(scene: &Scene, notebook: Notebook) -> Worker {
    let mut worker = Worker::new(scene.outbox.clone(), WorkerConfig::default());
    worker.transactional(ConsumerSpec::new("notebook", &["order.placed"]), notebook);
    worker
}

#[tokio::test]
async fn a_drain_ends_when_the_last_follow_up_is_handled() {
    let scene = Scene::new().await;
    let log = Log::from_here(&scene.outbox).await.unwrap();
    let keys = keys(50);
    let placed = scene.orders(&keys, Origin::of("customer")).await;
    let mut worker = worker(&scene, Notebook::of("notebook"));
    let sent = ConsumerSpec::new("told", &["parcel.sent"]);
    worker.transactional(sent, Notebook::of("told"));
    let carrier = Carrier::with(async |_| outbox::Act::Answer("sent".to_owned()));
    worker.external(ConsumerSpec::new("carrier", &["order.placed"]), carrier);

    testing::drain(worker).await.unwrap();

    assert_eq!(scene.handled_by("notebook").await.len(), 50);
    assert_eq!(scene.handled_by("told").await.len(), 50);
    let log = log.events().await.unwrap();
    let ids: Vec<_> = log.iter().take(50).map(|event| event.event_id).collect();
    assert_eq!((ids, log.len()), (placed, 100));
}

#[tokio::test]
async fn a_retry_waits_for_its_hour_and_not_for_the_clock() {
    let scene = Scene::new().await;
    let failing = || {
        Notebook::with("notebook", async |_| {
            Err(Failure::Retry {
                error: "nobody opens".to_owned(),
                after: Some(HOUR),
            })
        })
    };
    scene.order(keys(1)[0]).await;

    for attempts in 1..=2 {
        testing::drain(worker(&scene, failing())).await.unwrap();
        let attempt = "select sum(attempt) from outbox.delivery";
        assert_eq!(scene.count(attempt).await, attempts);
        testing::advance(&scene.outbox, HOUR).await.unwrap();
    }
    testing::drain(worker(&scene, Notebook::of("notebook")))
        .await
        .unwrap();
    assert_eq!(scene.handled_by("notebook").await.len(), 1);
}

#[tokio::test]
async fn what_is_planned_fires_when_time_has_passed() {
    let scene = Scene::new().await;
    let mut tx = scene.outbox.begin(Origin::of("customer")).await.unwrap();
    let locked = tx.locked(keys(1)[0]);
    tx.append_at(locked, outbox::clock::now() + 2 * HOUR, placed());
    tx.commit().await.unwrap();

    testing::advance(&scene.outbox, HOUR).await.unwrap();
    testing::drain(worker(&scene, Notebook::of("notebook")))
        .await
        .unwrap();
    assert_eq!(scene.handled_by("notebook").await.len(), 0);

    testing::advance(&scene.outbox, HOUR).await.unwrap();
    testing::drain(worker(&scene, Notebook::of("notebook")))
        .await
        .unwrap();
    assert_eq!(scene.handled_by("notebook").await.len(), 1);
}

#[tokio::test]
async fn a_drain_that_cannot_end_says_what_is_left() {
    let scene = Scene::new().await;
    let spec = ConsumerSpec::new("notebook", &["order.placed"]);
    outbox::register(&scene.pool, &spec).await.unwrap();
    let paused = operation::pause(&scene.pool, "notebook", Some(HOUR), &by()).await;
    assert!(matches!(paused, Ok(Paused::Until(_))));
    scene.order(keys(1)[0]).await;

    let worker = worker(&scene, Notebook::of("notebook"));
    let drained = testing::drain_within(worker, Duration::from_millis(500)).await;

    let Err(DrainError::StillBusy { left, .. }) = drained else {
        panic!("it ended: {drained:?}");
    };
    assert_eq!(left, ["notebook has unread events"]);
}

#[tokio::test]
async fn a_unit_of_work_tells_what_it_would_announce() {
    let scene = Scene::new().await;
    let log = Log::from_here(&scene.outbox).await.unwrap();
    let key = keys(1)[0];
    let mut tx = scene.outbox.begin(Origin::of("customer")).await.unwrap();
    let locked = tx.locked(key);
    tx.append(
        locked,
        NewEvent::new("order.placed", 2, serde_json::json!({})),
    );

    let announced = testing::announced(&tx);
    tx.rollback().await.unwrap();

    assert_eq!(announced.len(), 1);
    assert_eq!(
        (announced[0].0, announced[0].1.topic),
        (key, "order.placed")
    );
    assert!(log.events().await.unwrap().is_empty());
}
