//! Exchanging the transport while the log grows.

use tokio_util::sync::CancellationToken;

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

/// Appends to the same keys again and again until it is told to stop.
async fn appending(scene: &Scene, stop: CancellationToken) -> tokio::task::JoinHandle<()> {
    let outbox = scene.as_seen_by("writer", 2).await;
    let keys = keys(30);
    tokio::spawn(async move {
        while !stop.is_cancelled() {
            let mut tx = outbox.begin(Origin::of("customer")).await.unwrap();
            for key in &keys {
                let locked = tx.locked(*key);
                tx.append(locked, crate::scene::placed());
            }
            tx.commit().await.unwrap();
        }
    })
}

#[tokio::test]
async fn the_transport_is_switched_both_ways_while_others_append() {
    let (scene, nats) = (Scene::new().await, Nats::start().await);
    let _relay = Host::relay(&scene, "relay").await;
    let stop = CancellationToken::new();
    let filling = publisher(&scene, &nats).await.run(stop.clone());
    let filling = tokio::spawn(filling);
    let writing = CancellationToken::new();
    let writer = appending(&scene, writing.clone()).await;

    for round in 0..4 {
        let before = scene.handled_by("notes").await.len();
        let stays = worker(&scene, "notes", Transport::Postgres).await;
        let comes = reader(&scene, &nats, "notes").await;
        scene.until_handled("notes", before + 300).await;
        // Both kinds side by side; then one goes, and the other goes on alone.
        let last = if round % 2 == 0 {
            stays.stop().await;
            comes
        } else {
            comes.stop().await;
            stays
        };
        let between = scene.handled_by("notes").await.len();
        scene.until_handled("notes", between + 300).await;
        last.stop().await;
    }
    writing.cancel();
    writer.await.unwrap();
    let notes = reader(&scene, &nats, "notes").await;

    assert_handled_once(&scene, "notes").await;
    stop.cancel();
    filling.await.unwrap();
    notes.stop().await;
}
