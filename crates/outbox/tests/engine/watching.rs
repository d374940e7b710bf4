//! Watching: what is told of the log and its consumers is so, and costs them nothing.

use outbox::operation::{self, Paused, Start};
use outbox::status::{ConsumerStatus, status};
use outbox::{Act, Lane, Origin, Tail};
use uuid::Uuid;

use crate::host::Host;
use crate::scene::{Scene, by, impatient, keys, keys_of_one_shard, run, until};
use crate::shop::{Carrier, Notebook};

async fn of_notebook(scene: &Scene) -> ConsumerStatus {
    let status = status(&scene.pool).await.unwrap();
    let mut consumers = status.consumers.into_iter();
    consumers.find(|of| of.name == "notebook").unwrap()
}

#[tokio::test]
async fn what_a_consumer_has_not_read_is_counted() {
    let scene = Scene::new().await;
    let notebook = Notebook::of("notebook");
    let worker = Host::worker(&scene, "worker", |w| {
        w.transactional(impatient("notebook", 1), notebook);
    })
    .await;
    scene.orders(&keys(10), Origin::of("customer")).await;
    scene.publish().await;
    scene.until_handled("notebook", 10).await;
    assert_eq!(of_notebook(&scene).await.processes, 1);
    worker.stop().await;

    scene
        .orders(&keys_of_one_shard(3), Origin::of("customer"))
        .await;
    scene.orders(&keys(4), Origin::of("customer").bulk()).await;
    let about = status(&scene.pool).await.unwrap();
    assert_eq!(about.unpublished, 7);
    assert!(about.oldest_unpublished.is_some());
    scene.publish().await;

    let about = status(&scene.pool).await.unwrap();
    assert_eq!((about.unpublished, about.relays, about.tick), (0, 0, 2));
    let notebook = of_notebook(&scene).await;
    assert_eq!((notebook.unread, notebook.processes), (7, 0));
    assert!(notebook.oldest_unread.is_some());
}

#[tokio::test]
async fn a_long_way_behind_is_an_estimate() {
    let scene = Scene::new().await;
    outbox::register(&scene.pool, &impatient("notebook", 1))
        .await
        .unwrap();
    scene.orders(&keys(30_000), Origin::of("customer")).await;
    scene.publish().await;
    assert_eq!(of_notebook(&scene).await.unread, 30_000);
}

#[tokio::test]
async fn pauses_troubles_and_dead_letters_are_told() {
    let scene = Scene::new().await;
    let carrier = Carrier::with(|_| async { Act::Dead("no such street".to_owned()) });
    let spec = impatient("notebook", 1);
    let _worker = Host::worker(&scene, "worker", |w| w.external(spec, carrier)).await;
    let key = keys(1)[0];
    scene.orders(&[key, key], Origin::of("customer")).await;
    scene.publish().await;
    until("one is dead, and one waits behind it", async || {
        let of = of_notebook(&scene).await;
        (of.dead, of.in_trouble, of.blocked_keys) == (1, 1, 1)
    })
    .await;
    assert_eq!(of_notebook(&scene).await.paused, None);
    operation::pause(&scene.pool, "notebook", None, &by())
        .await
        .unwrap();
    assert_eq!(of_notebook(&scene).await.paused, Some(Paused::UntilResumed));
}

#[tokio::test]
async fn a_breaker_that_is_open_is_told() {
    let scene = Scene::new().await;
    let down = Carrier::with(|_| async {
        let error = "no road".to_owned();
        let after = Some(std::time::Duration::from_secs(60));
        Act::Unavailable { error, after }
    });
    let spec = impatient("notebook", 1);
    let _worker = Host::worker(&scene, "worker", |w| w.external(spec, down)).await;
    assert_eq!(of_notebook(&scene).await.closed, 0);
    scene.order(keys(1)[0]).await;
    scene.publish().await;
    until("the heartbeat tells it", async || {
        of_notebook(&scene).await.closed == 1
    })
    .await;
}

#[tokio::test]
async fn the_oldest_writing_transaction_is_named() {
    let scene = Scene::new().await;
    assert!(status(&scene.pool).await.unwrap().oldest_writer.is_none());
    let mut conn = scene.connection().await;
    run(
        &mut conn,
        "set application_name = 'sleeper'; begin; select pg_current_xact_id()",
    )
    .await;
    let writer = status(&scene.pool).await.unwrap().oldest_writer.unwrap();
    assert_eq!(writer.application, "sleeper");
    assert_eq!(writer.state, "idle in transaction");
}

async fn next(tail: &mut Tail) -> Vec<Uuid> {
    let mut events = Vec::new();
    while let Some(page) = tail.next().await.unwrap() {
        events.extend(page.iter().map(|event| event.event_id));
    }
    events
}

#[tokio::test]
async fn a_follower_sees_both_lanes_once_in_the_logs_order() {
    let scene = Scene::new().await;
    let mut events = scene.orders(&keys(2), Origin::of("customer")).await;
    scene.publish().await;
    let mut late = Tail::from(scene.pool.clone(), None).await.unwrap();
    let mut early = Tail::from(scene.pool.clone(), Some(Start::Tick(1)))
        .await
        .unwrap();
    assert_eq!(next(&mut early).await, events);

    let key = keys(1)[0];
    let mut fresh = Vec::new();
    for lane in [Lane::Bulk, Lane::Interactive, Lane::Bulk] {
        let origin = Origin {
            lane,
            ..Origin::of("customer")
        };
        fresh.extend(scene.orders(&[key, keys(1)[0]], origin).await);
    }
    assert!(next(&mut late).await.is_empty());
    scene.publish().await;

    assert_eq!(next(&mut late).await, fresh);
    assert_eq!(next(&mut early).await, fresh);
    assert!(next(&mut late).await.is_empty());
    events.extend(&fresh);
    let all = Tail::from(scene.pool.clone(), Some(Start::Tick(1)))
        .await
        .unwrap();
    let of_key = [fresh[0], fresh[2], fresh[4]];
    assert_eq!(next(&mut all.of_key(Some(key))).await, of_key);
    let all = Tail::from(scene.pool.clone(), Some(Start::Tick(1)))
        .await
        .unwrap();
    let of_topics = vec!["order.lost".to_owned()];
    assert!(next(&mut all.of_topics(of_topics)).await.is_empty());
}
