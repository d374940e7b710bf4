//! A server recovered to an earlier instant, or promoted in place of another: events, ticks and
//! positions went back together, and the log goes on.

use outbox::refuse_unsafe_server;
use testkit::Server;

use crate::host::Host;
use crate::scene::{Scene, impatient, keys};
use crate::shop::Notebook;

async fn notebook(scene: &Scene) -> Host {
    Host::worker(scene, "worker", |worker| {
        worker.transactional(impatient("notebook", 1), Notebook::of("notebook"));
    })
    .await
}

#[tokio::test]
async fn a_recovered_server_goes_on_and_handles_each_event_once() {
    let server = Server::start(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let scene = Scene::new_in(&server).await;
    let relay = Host::relay(&scene, "relay").await;
    let worker = notebook(&scene).await;
    scene.order(keys(1)[0]).await;
    scene.until_handled("notebook", 1).await;

    let copy = server.recovered_copy(async || {
        scene.order(keys(1)[0]).await;
        scene.until_handled("notebook", 2).await;
        Ok(())
    });
    let copy = copy.await.unwrap();
    // Later than the instant that is recovered.
    scene.order(keys(1)[0]).await;
    scene.until_handled("notebook", 3).await;
    worker.stop().await;
    relay.stop().await;

    let recovered = Scene::at(copy.url(), copy).await;
    refuse_unsafe_server(&recovered.pool).await.unwrap();
    let timeline = "select timeline::bigint from outbox.meta";
    assert_eq!(
        (scene.count(timeline).await, recovered.count(timeline).await),
        (1, 2)
    );
    let _relay = Host::relay(&recovered, "relay").await;
    let _worker = notebook(&recovered).await;
    recovered.order(keys(1)[0]).await;

    recovered.until_handled("notebook", 3).await;
    let amiss = "select count(*) from (
        select event_id from shop.handled except all select event_id from outbox.event
    ) as amiss";
    assert_eq!(recovered.count(amiss).await, 0);
    assert_eq!(
        recovered.count("select count(*) from outbox.event").await,
        3
    );
}
