//! The log carried by a real NATS server: what its streams hold is the log, in order, whatever
//! happens to them, and each event is handled once.

use std::time::Duration;

use outbox::transport::Transport;
use outbox::transport::jetstream::{JetStream, PublishError, Publisher};
use outbox::{Lane, Origin, WorkerConfig};
use uuid::Uuid;

use crate::host::Host;
use crate::log;
use crate::scene::{Scene, impatient, keys, until};
use crate::shop::Notebook;

mod ahead;
mod batches;
mod broken;
mod durable;
mod frozen;
mod naive;
mod secured;
mod server;
mod switch;
mod wire;

use server::Nats;

const PREFIX: &str = "shop";

async fn streams(nats: &Nats) -> JetStream {
    JetStream::new(nats.client().await, PREFIX)
}

async fn publisher(scene: &Scene, nats: &Nats) -> Publisher {
    let lane = Lane::Interactive;
    Publisher::new(scene.outbox.clone(), streams(nats).await, lane)
}

/// Publishes until the log is in the stream.
async fn publish(scene: &Scene, publisher: &mut Publisher) {
    scene.publish().await;
    until("the log is in the stream", async || {
        matches!(publisher.step().await, Ok(0))
    })
    .await;
}

async fn order(scene: &Scene, number: usize) {
    scene.orders(&keys(number), Origin::of("customer")).await;
}

/// The stream is the log of the lane, each event once and in order.
async fn assert_stream_is_log(scene: &Scene, nats: &Nats) {
    let expected = log::ids(&scene.pool, 100).await;
    assert_eq!(nats.ids(PREFIX).await, expected);
}

/// The same, from wherever the stream begins.
async fn assert_stream_is_tail_of_log(scene: &Scene, nats: &Nats) {
    let expected = log::ids(&scene.pool, 100).await;
    let held = nats.ids(PREFIX).await;
    assert!(!held.is_empty());
    assert_eq!(held, expected[expected.len() - held.len()..]);
}

async fn reader(scene: &Scene, nats: &Nats, name: &'static str) -> Host {
    let transport = Transport::JetStream(Box::new(streams(nats).await));
    worker(scene, name, transport).await
}

async fn worker(scene: &Scene, name: &'static str, transport: Transport) -> Host {
    let config = WorkerConfig {
        poll: Duration::from_millis(10),
        transport,
        ..WorkerConfig::default()
    };
    Host::worker_with(scene, name, config, |worker| {
        worker.transactional(impatient(name, 3), Notebook::of(name));
    })
    .await
}

/// Each event of the log was handled once, and those of a key in the log's order.
async fn assert_handled_once(scene: &Scene, consumer: &str) {
    let log = log::read(&scene.pool, Lane::Interactive, 100).await;
    scene.until_handled(consumer, log.len()).await;
    let handled = scene.handled().await;
    let mut keys: Vec<Uuid> = log.iter().map(|event| event.key).collect();
    keys.sort_unstable();
    keys.dedup();
    for key in keys {
        let expected: Vec<Uuid> = (log.iter().filter(|event| event.key == key))
            .map(|event| event.event_id)
            .collect();
        let seen: Vec<Uuid> = (handled.iter())
            .filter(|row| row.0 == consumer && row.2 == key)
            .map(|row| row.1)
            .collect();
        assert_eq!(seen, expected);
    }
}

#[tokio::test]
async fn the_stream_is_the_log_and_consumers_read_it_once() {
    let (scene, nats) = (Scene::new().await, Nats::start().await);
    let mut publisher = publisher(&scene, &nats).await;
    let worker = reader(&scene, &nats, "notes").await;
    let keys = keys(5);

    for _ in 0..10 {
        scene.orders(&keys, Origin::of("customer")).await;
        publish(&scene, &mut publisher).await;
    }

    assert_stream_is_log(&scene, &nats).await;
    assert_handled_once(&scene, "notes").await;
    worker.stop().await;
}

#[tokio::test]
async fn racing_publishers_fill_the_stream_once() {
    let (scene, nats) = (Scene::new().await, Nats::start().await);
    let mut one = publisher(&scene, &nats).await;
    let mut other = publisher(&scene, &nats).await;

    for _ in 0..20 {
        order(&scene, 20).await;
        scene.publish().await;
        // Whoever loses starts again at the tail.
        let (first, second) = tokio::join!(one.step(), other.step());
        drop((first, second));
    }
    publish(&scene, &mut one).await;
    publish(&scene, &mut other).await;

    assert_stream_is_log(&scene, &nats).await;
}

#[tokio::test]
async fn a_publisher_that_slept_through_the_work_of_another_adds_nothing() {
    let (scene, nats) = (Scene::new().await, Nats::start().await);
    let mut zombie = publisher(&scene, &nats).await;
    order(&scene, 5).await;
    publish(&scene, &mut zombie).await;
    let mut successor = publisher(&scene, &nats).await;
    order(&scene, 5).await;
    publish(&scene, &mut successor).await;
    order(&scene, 5).await;
    publish(&scene, &mut successor).await;

    let woken = zombie.step().await;

    assert!(matches!(
        woken,
        Err(PublishError::Rejected(_) | PublishError::Duplicate)
    ));
    assert_stream_is_log(&scene, &nats).await;
    publish(&scene, &mut zombie).await;
    assert_stream_is_log(&scene, &nats).await;
}
