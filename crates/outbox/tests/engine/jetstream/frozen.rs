//! A worker that reads from the stream and is frozen before it settles, while another takes over.

use super::*;
use crate::proxy::Proxy;

fn spec() -> outbox::ConsumerSpec {
    outbox::ConsumerSpec {
        shards: 1,
        ..impatient("notes", 3)
    }
}

#[tokio::test]
async fn a_frozen_reader_of_the_stream_settles_nothing_that_another_settled() {
    let (scene, nats) = (Scene::new().await, Nats::start().await);
    scene.let_everyone_believe_to_be_alone().await;
    let mut publisher = publisher(&scene, &nats).await;
    let proxy = Proxy::start(scene.url(), "-- position: advance").await;
    let config = async || WorkerConfig {
        poll: Duration::from_millis(10),
        transport: Transport::JetStream(Box::new(streams(&nats).await)),
        ..WorkerConfig::default()
    };
    let zombie = ("zombie", config().await);
    let zombie = Host::behind_with(&scene, &proxy, zombie, |worker| {
        worker.transactional(spec(), Notebook::of("notes"));
    })
    .await;
    order(&scene, 10).await;
    publish(&scene, &mut publisher).await;
    proxy.until_frozen().await;

    let rival = Host::worker_with(&scene, "rival", config().await, |worker| {
        worker.transactional(spec(), Notebook::of("notes"));
    })
    .await;
    scene.until_handled("notes", 10).await;
    order(&scene, 10).await;
    publish(&scene, &mut publisher).await;
    scene.until_handled("notes", 20).await;
    proxy.thaw();
    proxy.until_answered().await;
    order(&scene, 10).await;
    publish(&scene, &mut publisher).await;

    assert_handled_once(&scene, "notes").await;
    assert_eq!(scene.handled_by("notes").await.len(), 30);
    assert_eq!(scene.count("select count(*) from outbox.delivery").await, 0);
    zombie.stop().await;
    rival.stop().await;
}
