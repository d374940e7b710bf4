//! A stream that loses what it had, or holds what is not ours.

use async_nats::jetstream;

use super::*;

#[tokio::test]
async fn a_server_that_is_killed_goes_on_where_it_was() {
    let (scene, mut nats) = (Scene::new().await, Nats::start().await);
    let mut publisher = publisher(&scene, &nats).await;
    let worker = reader(&scene, &nats, "notes").await;
    order(&scene, 20).await;
    publish(&scene, &mut publisher).await;

    nats.kill().await;
    order(&scene, 20).await;
    nats.restart().await;
    publish(&scene, &mut publisher).await;

    assert_stream_is_log(&scene, &nats).await;
    assert_handled_once(&scene, "notes").await;
    worker.stop().await;
}

#[tokio::test]
async fn a_server_that_pauses_delays_and_loses_nothing() {
    let (scene, nats) = (Scene::new().await, Nats::start().await);
    let mut publisher = publisher(&scene, &nats).await;
    let worker = reader(&scene, &nats, "notes").await;
    order(&scene, 20).await;
    publish(&scene, &mut publisher).await;

    nats.signal("STOP").await;
    order(&scene, 20).await;
    scene.publish().await;
    assert!(publisher.step().await.is_err(), "nobody answers");
    nats.signal("CONT").await;
    publish(&scene, &mut publisher).await;

    assert_stream_is_log(&scene, &nats).await;
    assert_handled_once(&scene, "notes").await;
    worker.stop().await;
}

#[tokio::test]
async fn a_store_that_lost_its_tail_is_filled_in() {
    let (scene, nats) = (Scene::new().await, Nats::start().await);
    let mut publisher = publisher(&scene, &nats).await;
    let worker = reader(&scene, &nats, "notes").await;
    order(&scene, 20).await;
    publish(&scene, &mut publisher).await;
    scene.until_handled("notes", 20).await;

    // The chain breaks, as after a crash that took what had been acknowledged.
    let stream = nats.stream(PREFIX).await;
    for sequence in 15..=20 {
        assert!(stream.delete_message(sequence).await.unwrap());
    }
    order(&scene, 10).await;
    scene.publish().await;
    let mut successor = super::publisher(&scene, &nats).await;
    publish(&scene, &mut successor).await;

    assert_stream_is_log(&scene, &nats).await;
    assert_handled_once(&scene, "notes").await;
    worker.stop().await;
}

#[tokio::test]
async fn a_store_that_is_rolled_back_is_filled_in() {
    let (scene, mut nats) = (Scene::new().await, Nats::start().await);
    let mut publisher = publisher(&scene, &nats).await;
    let worker = reader(&scene, &nats, "notes").await;
    order(&scene, 20).await;
    publish(&scene, &mut publisher).await;
    nats.kill().await;
    let backup = tempfile::tempdir().unwrap();
    copy(nats.store(), backup.path()).await;
    nats.restart().await;
    order(&scene, 20).await;
    publish(&scene, &mut publisher).await;
    scene.until_handled("notes", 40).await;

    nats.kill().await;
    tokio::fs::remove_dir_all(nats.store()).await.unwrap();
    copy(backup.path(), nats.store()).await;
    nats.restart().await;
    order(&scene, 20).await;
    publish(&scene, &mut publisher).await;

    assert_stream_is_log(&scene, &nats).await;
    assert_handled_once(&scene, "notes").await;
    worker.stop().await;
}

#[tokio::test]
async fn a_store_that_is_wiped_is_filled_from_the_farthest_position() {
    let (scene, mut nats) = (Scene::new().await, Nats::start().await);
    let mut publisher = publisher(&scene, &nats).await;
    let worker = reader(&scene, &nats, "notes").await;
    order(&scene, 20).await;
    publish(&scene, &mut publisher).await;
    scene.until_handled("notes", 20).await;

    nats.kill().await;
    tokio::fs::remove_dir_all(nats.store()).await.unwrap();
    nats.restart().await;
    order(&scene, 20).await;
    publish(&scene, &mut publisher).await;

    assert_stream_is_tail_of_log(&scene, &nats).await;
    assert_handled_once(&scene, "notes").await;
    worker.stop().await;
}

#[tokio::test]
async fn a_stream_that_is_deleted_is_made_anew() {
    let (scene, nats) = (Scene::new().await, Nats::start().await);
    let mut publisher = publisher(&scene, &nats).await;
    let worker = reader(&scene, &nats, "notes").await;
    order(&scene, 20).await;
    publish(&scene, &mut publisher).await;
    scene.until_handled("notes", 20).await;

    let server = jetstream::new(nats.client().await);
    server.delete_stream("shop_interactive").await.unwrap();
    order(&scene, 20).await;
    publish(&scene, &mut publisher).await;

    assert_stream_is_tail_of_log(&scene, &nats).await;
    assert_handled_once(&scene, "notes").await;
    worker.stop().await;
}

/// As the lane of a close is lost after it: nothing comes whose refusal would tell.
#[tokio::test]
async fn a_stream_that_is_lost_while_nothing_is_appended_is_filled_in() {
    let (scene, nats) = (Scene::new().await, Nats::start().await);
    let mut publisher = publisher(&scene, &nats).await;
    let worker = reader(&scene, &nats, "notes").await;
    order(&scene, 20).await;
    publish(&scene, &mut publisher).await;
    scene.until_handled("notes", 20).await;
    worker.stop().await;
    order(&scene, 20).await;
    publish(&scene, &mut publisher).await;

    let server = jetstream::new(nats.client().await);
    server.delete_stream("shop_interactive").await.unwrap();
    let worker = reader(&scene, &nats, "notes").await;
    until("the publisher has looked, and filled it in", async || {
        publisher.step().await.unwrap();
        scene.handled_by("notes").await.len() == 40
    })
    .await;

    assert_stream_is_tail_of_log(&scene, &nats).await;
    assert_handled_once(&scene, "notes").await;
    worker.stop().await;
}

#[tokio::test]
async fn a_consumer_older_than_the_stream_reads_the_beginning_in_the_log() {
    let (scene, nats) = (Scene::new().await, Nats::start().await);
    let mut publisher = publisher(&scene, &nats).await;
    order(&scene, 20).await;
    publish(&scene, &mut publisher).await;
    nats.stream(PREFIX)
        .await
        .purge()
        .sequence(11)
        .await
        .unwrap();

    let worker = reader(&scene, &nats, "notes").await;

    assert_handled_once(&scene, "notes").await;
    worker.stop().await;
}

#[tokio::test]
async fn a_foreign_message_is_passed_over() {
    let (scene, nats) = (Scene::new().await, Nats::start().await);
    let mut publisher = publisher(&scene, &nats).await;
    let worker = reader(&scene, &nats, "notes").await;
    order(&scene, 5).await;
    publish(&scene, &mut publisher).await;

    let server = jetstream::new(nats.client().await);
    let sent = server.publish("shop.interactive.0", "hello".into()).await;
    sent.unwrap().await.unwrap();
    order(&scene, 5).await;
    publish(&scene, &mut publisher).await;

    assert_stream_is_log(&scene, &nats).await;
    assert_handled_once(&scene, "notes").await;
    worker.stop().await;
}

async fn copy(from: &std::path::Path, to: &std::path::Path) {
    tokio::fs::create_dir_all(to).await.unwrap();
    let copied = tokio::process::Command::new("cp")
        .arg("-a")
        .arg(from.join("."))
        .arg(to)
        .status();
    assert!(copied.await.unwrap().success());
}
