//! Events of a version that a program does not know yet: they wait for the deploy.

use outbox::{Event, Failure, NewEvent, Origin};
use uuid::Uuid;

use crate::host::Host;
use crate::scene::{Scene, impatient, keys_of_one_shard};
use crate::shop::Notebook;

async fn order_of_version(scene: &Scene, key: Uuid, version: i16) -> Uuid {
    let mut tx = scene.outbox.begin(Origin::of("customer")).await.unwrap();
    let locked = tx.locked(key);
    let placed = NewEvent::new("order.placed", version, serde_json::json!({}));
    let event = tx.append(locked, placed);
    tx.commit().await.unwrap();
    scene.publish().await;
    event
}

/// A program that knows events up to a version.
fn that_knows(version: i16) -> Notebook {
    Notebook::with("notebook", move |events: Vec<Event>| async move {
        events
            .iter()
            .try_for_each(|event| event.expect_version(version))
    })
}

const WAITS: &str = "select count(*) from outbox.delivery
    where state = 'retry' and attempt = 0 and last_error like '%version 2%up to 1%'
        and next_at between now() and now() + interval '31 seconds'";
const ASK: &str = "update outbox.delivery set next_at = now() where next_at > now()";

/// Three attempts are allowed; it is asked five times.
#[tokio::test]
async fn an_event_of_a_newer_version_waits_for_the_deploy_and_never_dies() {
    let scene = Scene::new().await;
    let keys = keys_of_one_shard(2);
    let old = Host::worker(&scene, "old", |w| {
        w.transactional(impatient("notebook", 3), that_knows(1));
    })
    .await;

    let newer = order_of_version(&scene, keys[0], 2).await;
    let behind = order_of_version(&scene, keys[0], 1).await;
    let beside = order_of_version(&scene, keys[1], 1).await;
    scene.until_handled("notebook", 1).await;
    for _ in 0..5 {
        scene.until_count(WAITS, 1).await;
        assert_eq!(scene.sql(ASK).await, 1);
    }
    scene.until_count(WAITS, 1).await;
    assert_eq!(scene.handled_by("notebook").await, [beside]);
    old.stop().await;

    let _new = Host::worker(&scene, "new", |w| {
        w.transactional(impatient("notebook", 3), that_knows(2));
    })
    .await;
    scene.sql(ASK).await;
    scene.until_handled("notebook", 3).await;
    assert_eq!(scene.handled_by("notebook").await, [beside, newer, behind]);
}

#[tokio::test]
async fn naive_retries_make_a_dead_letter_of_an_event_of_a_newer_version() {
    let scene = Scene::new().await;
    let naive = Notebook::with("notebook", |events: Vec<Event>| async move {
        events
            .iter()
            .try_for_each(|event| event.expect_version(1))
            .map_err(Failure::retry)
    });
    let _old = Host::worker(&scene, "old", |w| {
        w.transactional(impatient("notebook", 3), naive);
    })
    .await;

    let newer = order_of_version(&scene, keys_of_one_shard(1)[0], 2).await;

    let dead = scene.until_dead(1).await;
    assert_eq!((dead[0].event.event_id, dead[0].attempt), (newer, 3));
}
