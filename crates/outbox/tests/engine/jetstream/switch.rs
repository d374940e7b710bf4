//! Exchanging the transport while the log grows.

use super::*;

#[tokio::test]
async fn the_transport_is_switched_both_ways_without_loss_or_repeats() {
    let (scene, nats) = (Scene::new().await, Nats::start().await);
    let mut publisher = publisher(&scene, &nats).await;
    let keys = keys(10);

    for round in 0..4 {
        let transport = || async {
            match round % 2 {
                0 => Transport::Postgres,
                _ => Transport::JetStream(Box::new(streams(&nats).await)),
            }
        };
        let notes = worker(&scene, "notes", transport().await).await;
        let mails = worker(&scene, "mails", transport().await).await;
        for _ in 0..10 {
            scene.orders(&keys, Origin::of("customer")).await;
            publish(&scene, &mut publisher).await;
        }
        // In the middle of the work.
        notes.stop().await;
        mails.stop().await;
    }
    let notes = reader(&scene, &nats, "notes").await;
    let mails = reader(&scene, &nats, "mails").await;

    assert_stream_is_log(&scene, &nats).await;
    assert_handled_once(&scene, "notes").await;
    assert_handled_once(&scene, "mails").await;
    notes.stop().await;
    mails.stop().await;
}
