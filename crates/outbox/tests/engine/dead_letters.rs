//! Dead letters: chosen by what is known of them, tried again or discarded, for a reason.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, Utc};
use metrics_exporter_prometheus::PrometheusBuilder;
use outbox::Failure;
use outbox::delivery::dead::{self, Choice};
use uuid::Uuid;

use crate::host::Host;
use crate::scene::{Scene, by, impatient, keys, noted, operations, until};
use crate::shop::Notebook;

/// Three dead letters of different keys, and a notebook that got better since.
async fn three_dead(scene: &Scene) -> (Host, Vec<Uuid>, Vec<Uuid>) {
    let better = Arc::new(AtomicBool::new(false));
    let is_better = Arc::clone(&better);
    let keys = keys(3);
    let first = keys[0];
    let picky = Notebook::with("notebook", move |events| {
        let is_better = is_better.load(Ordering::Relaxed);
        async move {
            match events[0].key {
                _ if is_better => Ok(()),
                key if key == first => Err(Failure::Dead("no such book".to_owned())),
                _ => Err(Failure::Dead("The shelf is full".to_owned())),
            }
        }
    });
    let spec = impatient("notebook", 3);
    let worker = Host::worker(scene, "worker", |w| w.transactional(spec, picky)).await;
    let mut events = Vec::new();
    for key in &keys {
        events.push(scene.order(*key).await);
    }
    scene.publish().await;
    scene.until_dead(3).await;
    better.store(true, Ordering::Relaxed);
    (worker, keys, events)
}

#[tokio::test]
async fn dead_letters_are_chosen_by_what_is_known_of_them() {
    let scene = Scene::new().await;
    let (_worker, keys, events) = three_dead(&scene).await;
    let count = async |choice| dead::count(&scene.pool, &choice).await.unwrap();
    let all = Choice::default;
    let now = sqlx::query_scalar("select clock_timestamp()");
    let now = now.fetch_one(&scene.pool).await.unwrap();

    assert_eq!(count(all()).await, 3);
    let consumer = Some("notebook".to_owned());
    assert_eq!(count(Choice { consumer, ..all() }).await, 3);
    let error = Some("SHELF".to_owned());
    assert_eq!(count(Choice { error, ..all() }).await, 2);
    let key = Some(keys[1]);
    assert_eq!(count(Choice { key, ..all() }).await, 1);
    let topic = Some("order.placed".to_owned());
    assert_eq!(count(Choice { topic, ..all() }).await, 3);
    let (since, until) = (Some(now), Some(now));
    assert_eq!(count(Choice { since, ..all() }).await, 0);
    assert_eq!(count(Choice { until, ..all() }).await, 3);
    let chosen = Choice {
        events: events[..2].to_vec(),
        ..all()
    };
    let listed = dead::list(&scene.pool, &chosen, 10).await.unwrap();
    let listed: Vec<Uuid> = listed.iter().map(|letter| letter.event.event_id).collect();
    assert_eq!(listed, events[..2]);
}

/// Nothing to be seen of a consumer that is not there is no good news.
#[tokio::test]
async fn a_choice_that_nothing_can_meet_is_refused() {
    let scene = Scene::new().await;
    let (_worker, _, _) = three_dead(&scene).await;
    let consumer = Some("noteboo".to_owned());
    let mistyped = Choice {
        consumer,
        ..Choice::default()
    };
    let at: DateTime<Utc> = "2026-11-01T00:00:00Z".parse().unwrap();
    let backwards = Choice {
        since: Some(at),
        until: Some(at),
        ..Choice::default()
    };

    for (choice, why) in [(mistyped, "notebook"), (backwards, "no instant")] {
        let listed = dead::list(&scene.pool, &choice, 10).await.map(drop);
        let counted = dead::count(&scene.pool, &choice).await.map(drop);
        let redriven = dead::redrive(&scene.pool, &choice, None, &by()).await;
        let discarded = dead::discard(&scene.pool, &choice, &by()).await;
        for refused in [listed, counted, redriven.map(drop), discarded.map(drop)] {
            let refused = refused.unwrap_err().to_string();
            assert!(refused.contains(why), "{refused}");
        }
    }
    assert_eq!(scene.until_dead(3).await.len(), 3);
}

/// A letter may die of its first attempt or of its last.
#[tokio::test]
async fn each_death_is_counted() {
    let metrics = PrometheusBuilder::new().install_recorder().unwrap();
    let scene = Scene::new().await;
    let (_worker, _, _) = three_dead(&scene).await;
    let stubborn = Notebook::with("stubborn", |_| async { Err(Failure::retry("not yet")) });
    let spec = impatient("stubborn", 3);
    let _stubborn = Host::worker(&scene, "stubborn", |w| w.transactional(spec, stubborn)).await;

    for consumer in ["notebook", "stubborn"] {
        let all = format!("outbox_parked_total{{consumer=\"{consumer}\",why=\"dead\"}} 3\n");
        until("the deaths are counted", async || {
            metrics.render().contains(&all)
        })
        .await;
    }
}

#[tokio::test]
async fn dead_letters_are_discarded_for_a_reason_and_their_keys_go_on() {
    let scene = Scene::new().await;
    let (_worker, keys, events) = three_dead(&scene).await;
    let behind = scene.order(keys[0]).await;
    scene.publish().await;
    scene
        .until_count("select count(*) from outbox.delivery", 4)
        .await;

    let error = Some("no such book".to_owned());
    let choice = Choice {
        error,
        ..Choice::default()
    };
    let discarded = dead::discard(&scene.pool, &choice, &by()).await.unwrap();
    assert_eq!(discarded, 1);
    scene.until_handled("notebook", 1).await;
    assert_eq!(scene.handled_by("notebook").await, [behind]);
    let kept: (Uuid, String) = sqlx::query_as("select event_id, reason from outbox.obsolete")
        .fetch_one(&scene.pool)
        .await
        .unwrap();
    let why = "discarded by ann: the cause is gone".to_owned();
    assert_eq!(kept, (events[0], why));
    assert_eq!(dead::discard(&scene.pool, &choice, &by()).await.unwrap(), 0);
    assert_eq!(operations(&scene).await, [noted("discard", 1)]);
}

#[tokio::test]
async fn a_redrive_with_a_rate_spreads_the_attempts() {
    let scene = Scene::new().await;
    let (worker, _, events) = three_dead(&scene).await;
    worker.stop().await;
    let all = Choice::default();
    let redriven = dead::redrive(&scene.pool, &all, Some(2), &by()).await;
    assert_eq!(redriven.unwrap(), 3);
    let gaps: Vec<i64> = sqlx::query_scalar(
        "select round(extract(epoch from next_at - min(next_at) over ()) * 10)::bigint
        from outbox.delivery order by tick, id",
    )
    .fetch_all(&scene.pool)
    .await
    .unwrap();
    assert_eq!(gaps, [0, 5, 10], "tenths of a second");
    assert_eq!(operations(&scene).await, [noted("redrive", 3)]);
    let _worker = Host::worker(&scene, "again", |w| {
        w.transactional(impatient("notebook", 3), Notebook::of("notebook"));
    })
    .await;
    scene.until_handled("notebook", 3).await;
    assert_eq!(scene.handled_by("notebook").await, events);
}
