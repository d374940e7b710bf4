//! Workers that are killed in the middle of a batch: its callbacks come once all the same.

use outbox::batch::State;

use super::{fill, open, seal, told, until_state};
use crate::host::Host;
use crate::proxy::Proxy;
use crate::scene::{Scene, impatient, keys};
use crate::shop::{Gate, Notebook};

const CONSUMERS: [&str; 2] = ["one", "two"];

async fn successor(scene: &Scene) -> Host {
    let worker = Host::worker(scene, "successor", |worker| {
        for consumer in CONSUMERS {
            worker.transactional(impatient(consumer, 9), Notebook::of(consumer));
        }
    });
    worker.await
}

async fn assert_ends_once(scene: &Scene, batch: outbox::Batch, members: usize) {
    until_state(scene, batch, State::Succeeded).await;
    for consumer in CONSUMERS {
        assert_eq!(scene.handled_by(consumer).await.len(), members);
    }
    assert_eq!(told(scene).await, [1, 0, 1]);
}

#[tokio::test]
async fn a_batch_whose_workers_are_killed_among_its_members_ends_once() {
    let scene = Scene::new().await;
    let _relay = Host::relay(&scene, "relay").await;
    let batch = open(&scene).await;
    for consumer in CONSUMERS {
        outbox::register(&scene.pool, &impatient(consumer, 9))
            .await
            .unwrap();
    }
    // So many that a shard's share is a transaction of its own.
    for _ in 0..4 {
        fill(&scene, batch, &keys(150)).await;
    }
    seal(&scene, batch).await;

    for n in 0..4 {
        let gate = Gate::closed();
        // Each gets a few steps farther than the one before.
        (0..n).for_each(|_| gate.open_once());
        let worker = Host::worker(&scene, &format!("worker {n}"), |worker| {
            for consumer in CONSUMERS {
                let gate = gate.clone();
                let notebook = Notebook::with(consumer, move |events| {
                    let gate = gate.clone();
                    async move {
                        gate.pass(events[0].event_id).await;
                        Ok(())
                    }
                });
                worker.transactional(impatient(consumer, 9), notebook);
            }
        })
        .await;
        gate.until_arrived(n + 1).await;
        worker.kill();
        scene.forget_members().await;
    }

    let last = successor(&scene).await;
    assert_ends_once(&scene, batch, 600).await;
    last.stop().await;
}

/// The statements in which a shard passes the seal and the batch ends.
const LAST_STEPS: [&str; 6] = [
    "-- position: advance several",
    "-- batch: lock",
    "-- batch: note the place of its seal",
    "-- batch: look whether its wave is done",
    "-- batch: end",
    "-- position: newest of each shard",
];

async fn ends_once_though_its_worker_dies_at(step: &'static str) {
    let scene = Scene::new().await;
    let _relay = Host::relay(&scene, "relay").await;
    for consumer in CONSUMERS {
        outbox::register(&scene.pool, &impatient(consumer, 9))
            .await
            .unwrap();
    }
    let batch = open(&scene).await;
    fill(&scene, batch, &keys(20)).await;
    seal(&scene, batch).await;
    let proxy = Proxy::start(scene.url(), step).await;
    let worker = Host::behind(&scene, &proxy, "worker", |worker| {
        for consumer in CONSUMERS {
            worker.transactional(impatient(consumer, 9), Notebook::of(consumer));
        }
    })
    .await;
    proxy.until_frozen().await;
    worker.kill();
    // What was held reaches a server whose client is gone.
    proxy.thaw();
    scene.forget_members().await;

    let last = successor(&scene).await;
    assert_ends_once(&scene, batch, 20).await;
    last.stop().await;
}

#[tokio::test]
async fn a_batch_whose_worker_is_killed_at_its_end_ends_once() {
    for step in LAST_STEPS {
        println!("killed at {step}");
        ends_once_though_its_worker_dies_at(step).await;
    }
}
