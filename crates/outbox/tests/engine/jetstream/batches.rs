//! A batch whose members and seal are read from the stream.

use outbox::batch::State;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::batches::{fill, open, seal, told, until_state};

#[tokio::test]
async fn a_batch_that_is_read_from_the_stream_tells_once() {
    let (scene, nats) = (Scene::new().await, Nats::start().await);
    let _relay = Host::relay(&scene, "relay").await;
    let stop = CancellationToken::new();
    let publisher = publisher(&scene, &nats).await;
    let filling = tokio::spawn(publisher.run(stop.clone()));
    let (one, two) = (
        reader(&scene, &nats, "notes").await,
        reader(&scene, &nats, "notes").await,
    );
    let mails = reader(&scene, &nats, "mails").await;

    let batch = open(&scene).await;
    for _ in 0..5 {
        fill(&scene, batch, &keys(40)).await;
    }
    scene.until_handled("notes", 200).await;
    assert_eq!(told(&scene).await, [0; 3]);
    seal(&scene, batch).await;
    until_state(&scene, batch, State::Succeeded).await;

    assert_eq!(told(&scene).await, [1, 0, 1]);
    for consumer in ["notes", "mails"] {
        assert_eq!(scene.handled_by(consumer).await.len(), 200);
    }
    stop.cancel();
    filling.await.unwrap();
    one.stop().await;
    two.stop().await;
    mails.stop().await;
}
