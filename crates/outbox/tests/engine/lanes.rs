//! Lanes: bulk work of any size does not delay an event that somebody waits for.

use std::time::{Duration, Instant};

use outbox::{Lane, Origin};

use crate::host::Host;
use crate::scene::{Scene, impatient, keys, until};
use crate::shop::Notebook;

const BULK: usize = 20_000;
const DONE: &str = "select count(*) from shop.handled";

#[tokio::test]
async fn an_interactive_event_does_not_wait_for_a_bulk_backlog() {
    let scene = Scene::new().await;
    let _relay = Host::relay(&scene, "relay").await;
    scene
        .orders(&keys(BULK), Origin::of("month end").bulk())
        .await;
    let slow = Notebook::with("notebook", |events| async move {
        if events[0].lane == Lane::Bulk {
            outbox::clock::pause(Duration::from_millis(100)).await;
        }
        Ok(())
    });
    let spec = impatient("notebook", 1);
    let worker = Host::worker(&scene, "worker", |w| w.transactional(spec, slow)).await;
    until("bulk work is under way", async || {
        scene.count(DONE).await > 0
    })
    .await;

    let started = Instant::now();
    let event = scene.order(keys(1)[0]).await;
    let handled = "select count(*) from shop.handled join outbox.event using (event_id)
        where lane = 0";
    scene.until_count(handled, 1).await;

    let done = scene.count(DONE).await;
    println!(
        "{event} was handled after {:.1?}, {done} bulk events done",
        started.elapsed()
    );
    assert!(done < 10_000);
    worker.stop().await;
}
