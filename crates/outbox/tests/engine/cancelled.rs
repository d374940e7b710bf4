//! Cancelling: what nobody has handled, nobody handles any more.

use std::time::Duration;

use outbox::{Cancelled, Failure, Origin};
use uuid::Uuid;

use crate::host::Host;
use crate::scene::{Scene, impatient, keys, keys_of_one_shard, noted, operations, placed};
use crate::shop::{Gate, Notebook};

async fn cancel(scene: &Scene, event: Uuid) -> Cancelled {
    let mut tx = scene.outbox.begin(Origin::of("ann")).await.unwrap();
    let cancelled = tx.cancel(event, "ordered by mistake").await.unwrap();
    tx.commit().await.unwrap();
    cancelled
}

#[tokio::test]
async fn a_cancelled_event_is_passed_over_by_who_has_not_handled_it() {
    let scene = Scene::new().await;
    let keys = keys_of_one_shard(3);
    let events = scene.orders(&keys, Origin::of("customer")).await;
    assert_eq!(cancel(&scene, events[1]).await, Cancelled::ForWhoIsToCome);
    assert_eq!(cancel(&scene, events[1]).await, Cancelled::Already);
    scene.publish().await;

    let gate = Gate::closed();
    gate.open();
    let (carrier, name) = (gate.carrier(), impatient("carrier", 1));
    let _carrier = Host::worker(&scene, "carrier", |w| w.external(name, carrier)).await;
    let spec = impatient("notebook", 1);
    let notebook = Notebook::of("notebook");
    let _worker = Host::worker(&scene, "worker", |w| w.transactional(spec, notebook)).await;

    scene.until_handled("notebook", 2).await;
    scene.until_handled("carrier", 2).await;
    let rest = [events[0], events[2]];
    assert_eq!(scene.handled_by("notebook").await, rest);
    let mut called = gate.arrived();
    called.sort_by_key(|event| events.iter().position(|of| of == event));
    assert_eq!(called, rest);
    let why = "select count(*) from outbox.obsolete
        where reason = 'cancelled by ann: ordered by mistake'";
    assert_eq!(scene.count(why).await, 2);
    assert_eq!(operations(&scene).await, [noted("cancel", 1)]);
}

#[tokio::test]
async fn a_cancelled_event_in_trouble_is_tried_no_more_and_its_key_goes_on() {
    let scene = Scene::new().await;
    let key = keys(1)[0];
    let (retrying, behind) = (scene.order(key).await, scene.order(key).await);
    scene.publish().await;
    let picky = Notebook::with("notebook", move |events| async move {
        if events.iter().any(|event| event.event_id == retrying) {
            let after = Some(Duration::from_secs(3600));
            let error = "in an hour".to_owned();
            return Err(Failure::Retry { error, after });
        }
        Ok(())
    });
    let spec = impatient("notebook", 9);
    let _worker = Host::worker(&scene, "worker", |w| w.transactional(spec, picky)).await;
    scene
        .until_count("select count(*) from outbox.delivery", 2)
        .await;

    cancel(&scene, retrying).await;

    scene.until_handled("notebook", 1).await;
    assert_eq!(scene.handled_by("notebook").await, [behind]);
    scene
        .until_count("select count(*) from outbox.delivery", 0)
        .await;
    assert_eq!(scene.count("select count(*) from outbox.obsolete").await, 1);
}

#[tokio::test]
async fn a_planned_event_that_is_cancelled_is_not_appended() {
    let scene = Scene::new().await;
    let mut tx = scene.outbox.begin(Origin::of("customer")).await.unwrap();
    let locked = tx.locked(keys(1)[0]);
    let due_at = chrono::DateTime::from_timestamp(4_000_000_000, 0).unwrap();
    let planned = tx.append_at(locked, due_at, placed());
    tx.commit().await.unwrap();

    assert_eq!(cancel(&scene, planned).await, Cancelled::BeforeItWasDue);
    assert_eq!(scene.count("select count(*) from outbox.timer").await, 0);
    assert_eq!(operations(&scene).await, []);
}
