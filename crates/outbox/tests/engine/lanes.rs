//! Lanes: bulk work of any size does not delay an event that somebody waits for.

use std::time::{Duration, Instant};

use outbox::transport::postgres;
use outbox::{Lane, LogPoint, Origin};

use crate::host::Host;
use crate::scene::{Scene, impatient, keys, until};
use crate::shop::{Gate, Notebook};

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

/// Of the four connections of this worker; without turns the four shards that are worked on at once
/// would take them all.
const TURNS: usize = 2;

#[tokio::test]
async fn handlers_of_bulk_events_take_turns_and_leave_connections_to_the_interactive() {
    let scene = Scene::new().await;
    let _relay = Host::relay(&scene, "relay").await;
    let gate = Gate::closed();
    let at = gate.clone();
    let notebook = Notebook::with("notebook", move |events| {
        let at = at.clone();
        async move {
            if events[0].lane == Lane::Bulk {
                at.pass(events[0].event_id).await;
            }
            Ok(())
        }
    });
    let spec = impatient("notebook", 20);
    // More than are handled in one transaction.
    scene
        .orders(&keys(400), Origin::of("month end").bulk())
        .await;
    let worker = Host::worker(&scene, "worker", |w| w.transactional(spec, notebook)).await;
    gate.until_arrived(TURNS).await;

    scene.order(keys(1)[0]).await;

    scene.until_count(DONE, 1).await;
    assert_eq!(gate.arrived().len(), TURNS);
    gate.open();
    scene.until_handled("notebook", 401).await;
    worker.stop().await;
}

/// In how many pages of a hundred the interactive lane is read, and how many events they hold.
async fn interactive_pages(scene: &Scene) -> (usize, usize) {
    let mut conn = scene.pool.acquire().await.unwrap();
    let (mut pages, mut events) = (0, 0);
    let mut after = LogPoint::default();
    while let Some(page) = postgres::read(&mut conn, Lane::Interactive, after, 100)
        .await
        .unwrap()
    {
        after = page.to;
        pages += 1;
        events += page.events.len();
    }
    (pages, events)
}

#[tokio::test]
async fn a_lane_goes_past_a_giant_tick_of_the_other_in_one_page() {
    let scene = Scene::new().await;
    let bulk = Origin::of("month end").bulk();
    scene.order(keys(1)[0]).await;
    scene.orders(&keys(3_000), bulk).await;
    scene.order(keys(1)[0]).await;
    assert_eq!(scene.publish().await, 1, "all in one tick");

    assert_eq!(interactive_pages(&scene).await, (1, 2));

    // Not knowing how many of each lane it holds, a reader looks through all of it.
    scene.sql("update outbox.tick set bulk = null").await;
    assert_eq!(interactive_pages(&scene).await, (31, 2));
}
