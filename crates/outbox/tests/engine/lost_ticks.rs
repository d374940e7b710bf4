//! The newest tick may be lost in a crash of the server, since it is not waited for; another is cut
//! under its number, and can hold more. Whoever read the lost one must not go by it.

use outbox::{ConsumerSpec, Lane, LogPoint, Origin};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::host::Host;
use crate::log;
use crate::proxy::{PAGE, Proxy};
use crate::scene::{Scene, impatient, keys, keys_of_one_shard};
use crate::shop::{Gate, Notebook};

/// An append with a low id, whose commit comes after the tick that will be lost.
async fn late_append(conn: &mut PgConnection, key: Uuid) -> Uuid {
    sqlx::raw_sql("begin").execute(&mut *conn).await.unwrap();
    log::append(conn, key).await
}

/// The newest tick is gone, the late append is there, and the tick is cut again.
async fn lose_the_tick(scene: &Scene, late: &mut PgConnection) {
    scene
        .sql("delete from outbox.tick where n = (select max(n) from outbox.tick)")
        .await;
    sqlx::raw_sql("commit").execute(&mut *late).await.unwrap();
    assert_eq!(scene.publish().await, 1);
}

#[tokio::test]
async fn naive_positions_by_number_alone_skip_what_the_second_tick_holds() {
    let scene = Scene::new().await;
    let keys = keys(2);
    let mut late = scene.connection().await;
    let missed = late_append(&mut late, keys[0]).await;
    scene.order(keys[1]).await;
    scene.publish().await;

    let mut naive = LogPoint::default();
    log::read_after(&scene.pool, Lane::Interactive, &mut naive, 10).await;
    lose_the_tick(&scene, &mut late).await;
    let later = log::read_after(&scene.pool, Lane::Interactive, &mut naive, 10).await;

    assert!(later.iter().all(|event| event.event_id != missed));
    late.close().await.unwrap();
}

#[tokio::test]
async fn a_worker_does_not_settle_by_a_tick_that_was_lost() {
    let scene = Scene::new().await;
    let (gate, keys) = (Gate::closed(), keys_of_one_shard(2));
    let at = gate.clone();
    let slow = Notebook::with("notebook", move |events| {
        let at = at.clone();
        async move {
            at.pass(events[0].event_id).await;
            Ok(())
        }
    });
    let spec = impatient("notebook", 1);
    let worker = Host::worker(&scene, "worker", |w| w.transactional(spec, slow)).await;
    let mut late = scene.connection().await;
    let missed = late_append(&mut late, keys[0]).await;
    let read = scene.order(keys[1]).await;
    scene.publish().await;
    gate.until_arrived(1).await;

    worker.end_sessions(&scene).await;
    lose_the_tick(&scene, &mut late).await;
    gate.open();

    scene.until_handled("notebook", 2).await;
    assert_eq!(scene.handled_by("notebook").await, [missed, read]);
}

/// What a shard has only passed over is known to the process alone.
#[tokio::test]
async fn a_lost_tick_that_held_nothing_for_a_shard_is_read_again() {
    let scene = Scene::new().await;
    let notebook = Notebook::of("notebook");
    let spec = ConsumerSpec {
        shards: 1,
        ..impatient("notebook", 1)
    };
    let proxy = Proxy::start(scene.url(), PAGE).await;
    let worker = Host::behind(&scene, &proxy, "worker", |w| {
        w.transactional(spec, notebook);
    });
    let _worker = worker.await;
    let key = keys(1)[0];
    let mut late = scene.connection().await;
    let missed = late_append(&mut late, key).await;
    let mut other = scene.connection().await;
    log::append_to(&mut other, Lane::Interactive, key, "order.other").await;
    scene.publish().await;
    proxy.until_frozen().await;
    proxy.thaw();
    proxy.until_answered().await;

    lose_the_tick(&scene, &mut late).await;
    let later = scene.orders(&[key], Origin::of("customer")).await;
    scene.publish().await;

    scene.until_handled("notebook", 2).await;
    assert_eq!(scene.handled_by("notebook").await, [missed, later[0]]);
}
