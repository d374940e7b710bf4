//! What is still to come, as operators and programs that wait are told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use outbox::delivery::dead::{Choice, redrive};
use outbox::operation::{self, Start};
use outbox::{
    Backlog, BacklogWatch, ConsumerSpec, Failure, Lane, Mark, NewBatch, Origin, Since, backlog,
    handled, pending,
};

use crate::host::Host;
use crate::log;
use crate::proxy::Proxy;
use crate::scene::{self, Scene, by, impatient, keys, keys_of_one_shard};
use crate::shop::Notebook;

async fn of(scene: &Scene, consumer: &str) -> Backlog {
    backlog(&scene.pool, consumer).await.unwrap()
}

#[tokio::test]
async fn pending_behind_and_handled_follow_an_event() {
    let scene = Scene::new().await;
    outbox::register(&scene.pool, &impatient("notebook", 1))
        .await
        .unwrap();
    assert_eq!(of(&scene, "notebook").await, Backlog::default());
    let mark = Mark::now(&scene.pool).await.unwrap();

    scene.orders(&keys(20), Origin::of("customer")).await;
    scene.orders(&keys(10), Origin::of("import").bulk()).await;
    let mut open = scene.connection().await;
    sqlx::raw_sql("begin").execute(&mut open).await.unwrap();
    log::append(&mut open, keys(1)[0]).await;

    assert_eq!(
        pending(&scene.pool).await.unwrap(),
        30,
        "what is open is not committed"
    );
    assert!(
        !of(&scene, "notebook").await.behind,
        "what has no tick is not there yet"
    );
    scene.publish().await;
    assert_eq!(pending(&scene.pool).await.unwrap(), 0);
    assert!(of(&scene, "notebook").await.behind);
    assert_eq!(outbox::unread_estimate(&scene.pool).await.unwrap(), 30);
    let notebook = Notebook::of("notebook");
    let spec = impatient("notebook", 1);
    let _worker = Host::worker(&scene, "worker", |w| w.transactional(spec, notebook)).await;
    scene.until_handled("notebook", 30).await;

    assert_eq!(of(&scene, "notebook").await, Backlog::default());
    assert_eq!(handled(&scene.pool).await.unwrap(), 30);
    assert_eq!(outbox::unread_estimate(&scene.pool).await.unwrap(), 0);
    let since = Since {
        appended: 30,
        published: 30,
        handled: 30,
    };
    assert_eq!(mark.since(&scene.pool).await.unwrap(), since);
    sqlx::raw_sql("commit").execute(&mut open).await.unwrap();
    assert_eq!(pending(&scene.pool).await.unwrap(), 1);
    assert_eq!(mark.since(&scene.pool).await.unwrap().appended, 31);
}

#[tokio::test]
async fn events_of_other_topics_leave_nobody_behind() {
    let scene = Scene::new().await;
    outbox::register(&scene.pool, &impatient("notebook", 1))
        .await
        .unwrap();
    let mut conn = scene.connection().await;
    for lane in Lane::ALL {
        log::append_to(&mut conn, lane, keys(1)[0], "order.other").await;
    }
    scene.publish().await;

    assert_eq!(of(&scene, "notebook").await, Backlog::default());
    assert_eq!(of(&scene, "nobody").await, Backlog::default());
}

#[tokio::test]
async fn whoever_has_not_passed_a_seal_is_behind() {
    let scene = Scene::new().await;
    let spec = impatient("notebook", 1);
    outbox::register(&scene.pool, &spec).await.unwrap();
    let mut tx = scene.outbox.begin(Origin::of("shop")).await.unwrap();
    let batch = tx.open_batch(NewBatch::named("empty")).await.unwrap();
    tx.seal(batch);
    tx.commit().await.unwrap();
    scene.publish().await;
    assert!(of(&scene, "notebook").await.behind);

    let notebook = Notebook::of("notebook");
    let _worker = Host::worker(&scene, "worker", |w| w.transactional(spec, notebook)).await;
    let ended = "select count(*) from outbox.batch where state = 'succeeded'";
    scene.until_count(ended, 1).await;
    assert!(!of(&scene, "notebook").await.behind);
}

/// While somebody looks, an event is passed and parked.
#[tokio::test]
async fn an_event_that_is_parked_under_a_look_is_seen_by_it() {
    let scene = Scene::new().await;
    let picky = Notebook::with("notebook", |_| async { Err(Failure::retry("not now")) });
    let _worker = Host::worker(&scene, "worker", |worker| {
        worker.transactional(impatient("notebook", 9), picky);
    })
    .await;
    let proxy = Proxy::start(scene.url(), "-- backlog: positions").await;
    let line = scene::pool(proxy.url(), "looker", 1).await;
    let look = tokio::spawn(async move { backlog(&line, "notebook").await.unwrap() });
    proxy.until_frozen().await;

    scene.order(keys(1)[0]).await;
    scene.publish().await;
    let parked = "select count(*) from outbox.delivery";
    scene.until_count(parked, 1).await;
    proxy.thaw();

    let seen = look.await.unwrap();
    assert_eq!((seen.behind, seen.due + seen.waiting), (false, 1));
}

#[tokio::test]
async fn trouble_is_counted_as_due_waiting_or_dead() {
    let scene = Scene::new().await;
    let keys = keys_of_one_shard(2);
    let (dies, waits) = (keys[0], keys[1]);
    let better = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&better);
    let picky = Notebook::with("notebook", move |events| {
        let better = told.load(Ordering::Relaxed);
        async move {
            match events[0].key {
                _ if better => Ok(()),
                key if key == dies => Err(Failure::Dead("never".to_owned())),
                _ => {
                    let after = Some(Duration::from_secs(3_600));
                    Err(Failure::Retry {
                        error: "later".to_owned(),
                        after,
                    })
                }
            }
        }
    });
    let spec = impatient("notebook", 5);
    let _worker = Host::worker(&scene, "worker", |w| w.transactional(spec, picky)).await;
    for key in [dies, waits, dies, waits] {
        scene.order(key).await;
    }
    scene.publish().await;

    scene
        .until_count("select count(*) from outbox.delivery", 4)
        .await;
    let expected = Backlog {
        behind: false,
        due: 0,
        waiting: 3,
        dead: 1,
    };
    assert_eq!(of(&scene, "notebook").await, expected);
    scene
        .sql(
            "update outbox.delivery set next_at = now() + '20 seconds' where attempt = 1
        and state = 'retry'",
        )
        .await;
    let expected = Backlog {
        due: 1,
        waiting: 2,
        ..expected
    };
    assert_eq!(of(&scene, "notebook").await, expected);

    better.store(true, Ordering::Relaxed);
    scene
        .sql("update outbox.delivery set next_at = now() where state = 'retry'")
        .await;
    redrive(&scene.pool, &Choice::default(), None, &by())
        .await
        .unwrap();
    scene.until_handled("notebook", 4).await;
    assert_eq!(of(&scene, "notebook").await, Backlog::default());
}

/// A consumer that has handled 20 events in four ticks, looked at once. It need not move over the
/// last event, which is another's.
async fn looked_at() -> (Scene, BacklogWatch) {
    let scene = Scene::new().await;
    let spec = ConsumerSpec {
        replayable: true,
        ..impatient("notebook", 1)
    };
    let worker = Host::worker(&scene, "worker", |worker| {
        worker.transactional(spec, Notebook::of("notebook"));
    })
    .await;
    for _ in 0..4 {
        scene.orders(&keys(5), Origin::of("customer")).await;
        scene.publish().await;
    }
    scene.until_handled("notebook", 20).await;
    worker.stop().await;
    let mut conn = scene.connection().await;
    log::append_to(&mut conn, Lane::Interactive, keys(1)[0], "order.lost").await;
    scene.publish().await;
    let mut watch = BacklogWatch::new(scene.pool.clone());
    assert_eq!(watch.look("notebook").await.unwrap(), Backlog::default());
    (scene, watch)
}

/// As if nothing had been handled, though it was.
const SET_BACK: &str = "delete from outbox.position where n > 0";

/// The control is a look by somebody who has not looked before.
#[tokio::test]
async fn what_was_passed_at_one_look_is_not_read_for_the_next() {
    let (scene, mut watch) = looked_at().await;
    scene.sql(SET_BACK).await;

    assert!(!watch.look("notebook").await.unwrap().behind);
    assert!(of(&scene, "notebook").await.behind);

    scene.order(keys(1)[0]).await;
    scene.publish().await;
    assert!(watch.look("notebook").await.unwrap().behind);
}

#[tokio::test]
async fn a_replay_is_behind_whatever_was_passed_before() {
    let (scene, mut watch) = looked_at().await;

    let start = Start::Tick(1);
    operation::replay(&scene.pool, "notebook", start, &by())
        .await
        .unwrap();

    assert!(watch.look("notebook").await.unwrap().behind);
}

/// A crash of the server takes back ticks that nobody acted on, and others get their numbers.
#[tokio::test]
async fn what_was_passed_in_a_tick_that_is_another_one_now_is_read() {
    let (scene, mut watch) = looked_at().await;
    scene.sql(SET_BACK).await;

    scene
        .sql("update outbox.tick set at = clock_timestamp()")
        .await;

    assert!(watch.look("notebook").await.unwrap().behind);
}
