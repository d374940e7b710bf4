//! A log that was recovered to an earlier instant, beside a stream that was not.

use testkit::Server;

use super::*;

/// A log of which 20 events were handled, and a stream that has 10 more, which its copy lost.
async fn recovered(nats: &Nats) -> Scene {
    let server = Server::start(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let scene = Scene::new_in(&server).await;
    let mut publisher = publisher(&scene, nats).await;
    let worker = reader(&scene, nats, "notes").await;
    order(&scene, 10).await;
    publish(&scene, &mut publisher).await;
    scene.until_handled("notes", 10).await;
    let copy = server.recovered_copy(async || {
        order(&scene, 10).await;
        publish(&scene, &mut publisher).await;
        scene.until_handled("notes", 20).await;
        Ok(())
    });
    let copy = copy.await.unwrap();
    worker.stop().await;
    order(&scene, 10).await;
    publish(&scene, &mut publisher).await;
    assert_eq!(nats.ids(PREFIX).await.len(), 30);
    Scene::at(copy.url(), copy).await
}

async fn refused(publisher: &mut Publisher) -> bool {
    let step = publisher.step().await;
    matches!(step, Err(PublishError::Ahead(stream)) if stream == "shop_interactive")
}

#[tokio::test]
async fn a_stream_ahead_of_a_recovered_log_is_neither_filled_nor_believed_until_it_is_deleted() {
    let nats = Nats::start().await;
    let scene = recovered(&nats).await;
    let mut publisher = publisher(&scene, &nats).await;
    let strange = nats.ids(PREFIX).await;
    assert!(refused(&mut publisher).await, "the stream has later ticks");
    // The log counts up to the same ticks again, at other times and with other events.
    for _ in 0..5 {
        order(&scene, 2).await;
        scene.publish().await;
    }
    assert!(refused(&mut publisher).await, "the stream has other ticks");
    let worker = reader(&scene, &nats, "notes").await;
    // There is something to handle: who reads in the database sees all of it.
    let witness = self::worker(&scene, "witness", Transport::Postgres).await;
    scene.until_handled("witness", 30).await;
    assert_eq!(scene.handled_by("notes").await.len(), 20);
    assert_eq!(nats.ids(PREFIX).await, strange);

    let server = async_nats::jetstream::new(nats.client().await);
    server.delete_stream("shop_interactive").await.unwrap();
    publish(&scene, &mut publisher).await;

    assert_stream_is_tail_of_log(&scene, &nats).await;
    assert_handled_once(&scene, "notes").await;
    worker.stop().await;
    witness.stop().await;
}
