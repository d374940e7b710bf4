//! Each committed transaction falls in exactly one tick, whatever its ids are, however it is read,
//! and whoever cuts.

use std::collections::HashSet;

use outbox::{Cut, Event, Lane, Origin};
use sqlx::Connection;
use uuid::Uuid;

use crate::log;
use crate::proxy::Proxy;
use crate::scene::{Scene, keys, pool, run};
use crate::schedule::{Schedule, inversions};

const SEEDS: u64 = 8;
const STEPS: usize = 250;

/// A snapshot's xmax is one past the highest transaction that had *ended*. A transaction at or
/// above it may have drawn its ids before the tick, so xmax bounds nothing.
///
/// Neighbours on the same server end transactions too and can hide the case: hence many rounds.
#[tokio::test]
async fn the_highest_transaction_of_all_is_not_lost_below_the_floor() {
    let scene = Scene::new().await;
    let key = keys(1)[0];
    let mut committed = HashSet::new();

    for _ in 0..20 {
        committed.insert(scene.order(key).await);
        let mut open = scene.connection().await;
        let mut tx = open.begin().await.unwrap();
        let late = log::append(&mut tx, key).await;
        scene.publish().await;
        committed.insert(scene.order(key).await);
        scene.publish().await;
        tx.commit().await.unwrap();
        committed.insert(late);
        scene.publish().await;
    }

    let read: HashSet<_> = log::ids(&scene.pool, 1).await.into_iter().collect();
    assert_eq!(committed.difference(&read).count(), 0);
}

fn points(events: &[Event]) -> Vec<(i64, i64, Uuid)> {
    let point = |event: &Event| (event.point.tick, event.point.id, event.event_id);
    events.iter().map(point).collect()
}

/// Events by tick as the relay counted them.
async fn counted(scene: &Scene) -> Vec<(i64, i64)> {
    sqlx::query_as("select n, events from outbox.tick where n > 0 order by n")
        .fetch_all(&scene.pool)
        .await
        .unwrap()
}

fn counts(read: &[Event]) -> Vec<(i64, i64)> {
    let mut counts = std::collections::BTreeMap::new();
    for event in read {
        *counts.entry(event.point.tick).or_insert(0) += 1;
    }
    counts.into_iter().collect()
}

#[tokio::test]
async fn every_committed_event_is_read_once_in_commit_order_per_key() {
    let scene = Scene::new().await;
    let rival = scene.as_seen_by("rival", 2).await;
    let rival = outbox::Relay::new(rival);
    let relay = scene.relay();
    let mut schedule = Schedule::new(&scene, 20, 0).await;
    let mut tail = log::Tail::default();

    for seed in 1..=SEEDS {
        schedule.reseed(seed);
        for _ in 0..STEPS {
            schedule.step().await;
            match schedule.dice.below(20) {
                0 => drop(relay.cut().await.unwrap()),
                1 => drop(tokio::try_join!(relay.cut(), rival.cut()).unwrap()),
                2 => tail.look(&scene.pool, 3).await,
                _ => {}
            }
        }
        schedule.finish().await;
        scene.publish().await;
        let committed = &schedule.committed;
        let read = log::ids(&scene.pool, 30).await;
        let once: HashSet<_> = read.iter().collect();
        assert_eq!(
            (read.len(), once.len()),
            (committed.len(), committed.len()),
            "seed {seed}"
        );
        assert!(
            committed.iter().all(|(_, event)| once.contains(event)),
            "seed {seed}"
        );
        assert_eq!(inversions(committed, &tail.read), 0, "seed {seed}");
    }

    let read = log::read(&scene.pool, Lane::Interactive, 2_000).await;
    assert_eq!(
        counts(&read),
        counted(&scene).await,
        "each in the tick that counted it"
    );
    let again = log::read(&scene.pool, Lane::Interactive, 100).await;
    assert_eq!(points(&again), points(&read), "in smaller pages");
}

/// Two sessions change an aggregate in turns.
async fn in_turns(scene: &Scene) -> Vec<Uuid> {
    let mut sessions = [scene.connection().await, scene.connection().await];
    let key = keys(1)[0];
    let mut appended = Vec::new();
    for n in 0..6 {
        appended.push(log::append(&mut sessions[n % 2], key).await);
    }
    appended
}

#[tokio::test]
async fn events_of_a_key_are_read_as_they_were_committed_unless_ids_are_cached() {
    let scene = Scene::new().await;
    let appended = in_turns(&scene).await;
    scene.publish().await;
    let read = log::ids(&scene.pool, 100).await;
    assert_eq!(read, appended, "the order of the commits");

    scene.sql("alter sequence outbox.event_id cache 20").await;
    let inverted = in_turns(&scene).await;
    scene.publish().await;
    assert_ne!(log::ids(&scene.pool, 100).await[6..], inverted);
}

#[tokio::test]
async fn a_giant_tick_is_read_in_windows() {
    let scene = Scene::new().await;
    let keys = keys(50);
    let batch = |bulk: bool| {
        let origin = Origin::of("import");
        if bulk { origin.bulk() } else { origin }
    };
    for n in 0..25 {
        let many: Vec<_> = keys.iter().cycle().take(500).copied().collect();
        scene.orders(&many, batch(n % 2 == 0)).await;
    }

    assert_eq!(scene.publish().await, 1, "all in one tick");

    let bulk = log::read(&scene.pool, Lane::Bulk, 2_000).await;
    let interactive = log::read(&scene.pool, Lane::Interactive, 2_000).await;
    assert_eq!((bulk.len(), interactive.len()), (13 * 500, 12 * 500));
    for lane in [bulk, interactive] {
        assert!(lane.is_sorted_by(|a, b| a.point < b.point));
    }
}

#[tokio::test]
async fn relays_that_race_leave_no_gap_and_publish_once() {
    let scene = Scene::new().await;
    let mut relays = tokio::task::JoinSet::new();
    let stop = tokio_util::sync::CancellationToken::new();
    for n in 0..3 {
        let relay = outbox::Relay::new(scene.as_seen_by(&format!("relay {n}"), 2).await);
        let stop = stop.clone();
        relays.spawn(async move {
            let mut lost = 0;
            while !stop.is_cancelled() {
                lost += u32::from(relay.cut().await.unwrap() == Cut::Lost);
            }
            lost
        });
    }

    let key = keys(1)[0];
    let mut committed = Vec::new();
    for _ in 0..150 {
        committed.push((key, scene.order(key).await));
    }
    stop.cancel();
    let lost: u32 = relays.join_all().await.into_iter().sum();
    scene.publish().await;

    println!("{lost} ticks were lost to another relay");
    let read = log::ids(&scene.pool, 10).await;
    assert_eq!(read, committed.iter().map(|row| row.1).collect::<Vec<_>>());
    assert_eq!(
        scene
            .count("select max(n) - count(*) + 1 from outbox.tick")
            .await,
        0
    );
}

/// A tick is one statement: whoever is frozen has cut it or has not, and holds nothing.
#[tokio::test]
async fn a_relay_frozen_at_its_tick_holds_nobody_up_and_cuts_it_no_second_time() {
    let scene = Scene::new().await;
    let proxy = Proxy::start(scene.url(), "-- tick: cut the next one").await;
    let frozen = outbox::Outbox::new(pool(proxy.url(), "frozen", 2).await);
    let event = scene.order(keys(1)[0]).await;
    let zombie = tokio::spawn(async move { outbox::Relay::new(frozen).cut().await });
    proxy.until_frozen().await;

    assert_eq!(scene.relay().cut().await.unwrap(), Cut::Tick(1));

    proxy.thaw();
    assert_eq!(zombie.await.unwrap().unwrap(), Cut::Nothing);
    assert_eq!(log::ids(&scene.pool, 10).await, [event]);
}

/// What a crash of the server does to a sequence whose last ids no commit made durable.
#[tokio::test]
async fn a_sequence_that_a_crash_set_back_hides_no_event() {
    let scene = Scene::new().await;
    let relay = scene.relay();
    scene.orders(&keys(10), Origin::of("customer")).await;
    assert_eq!(relay.cut().await.unwrap(), Cut::Tick(10));
    scene.sql("select setval('outbox.event_id', 1000)").await;
    assert_eq!(relay.cut().await.unwrap(), Cut::Nothing);
    scene.sql("select setval('outbox.event_id', 10)").await;

    scene.order(keys(1)[0]).await;
    assert_eq!(relay.cut().await.unwrap(), Cut::Tick(1));
    let mut late = scene.connection().await;
    run(&mut late, "begin").await;
    log::append(&mut late, keys(1)[0]).await;
    scene.order(keys(1)[0]).await;
    assert_eq!(relay.cut().await.unwrap(), Cut::Tick(1));
    run(&mut late, "commit").await;

    assert_eq!(relay.cut().await.unwrap(), Cut::Tick(1));
}
