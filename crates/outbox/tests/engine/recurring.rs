//! Schedules: a slot fires once whoever runs the relays, and missed slots as their owner wants.

use chrono::{DateTime, Utc};
use futures::future::join_all;
use outbox::schedule::{self, Missed, NewSchedule, PutError};
use outbox::{Lane, Origin};

use crate::host::Host;
use crate::log;
use crate::scene::{Scene, keys, until};

const EVENTS: &str = "select count(*) from outbox.event where topic = 'stock.counted'";

fn every(cron: &str, missed: Missed) -> NewSchedule {
    NewSchedule {
        name: "stock".to_owned(),
        cron: cron.to_owned(),
        zone: "Europe/Berlin".to_owned(),
        missed,
        key: keys(1)[0],
        topic: "stock.counted".to_owned(),
        schema_version: 1,
        payload: serde_json::json!({ "shelf": 7 }),
    }
}

async fn put(scene: &Scene, new: &NewSchedule) -> Result<(), PutError> {
    let mut tx = scene.outbox.begin(Origin::of("owner")).await.unwrap();
    schedule::put(&mut tx, new).await?;
    tx.commit().await.unwrap();
    Ok(())
}

/// As if no relay had run since.
async fn sleep_through(scene: &Scene, hours: i32) {
    sqlx::query("update outbox.schedule set next_at = next_at - make_interval(hours => $1)")
        .bind(hours)
        .execute(&scene.pool)
        .await
        .unwrap();
}

async fn next_at(scene: &Scene) -> DateTime<Utc> {
    schedule::list(&scene.pool).await.unwrap()[0]
        .next_at
        .unwrap()
}

#[tokio::test]
async fn a_slot_fires_once_however_many_relays_run() {
    let scene = Scene::new().await;
    put(&scene, &every("* * * * * *", Missed::All))
        .await
        .unwrap();
    let relays = ["one", "two", "three"].map(|name| Host::relay(&scene, name));
    let relays = join_all(relays).await;

    until("five slots have fired", async || {
        scene.count(EVENTS).await >= 5
    })
    .await;
    drop(relays);

    let slots = "select count(*) from outbox.schedule_slot";
    let whole = "select (extract(epoch from max(slot) - min(slot)) + 1)::bigint
        from outbox.schedule_slot";
    let events = scene.count(EVENTS).await;
    assert_eq!(
        (scene.count(slots).await, scene.count(whole).await),
        (events, events)
    );
}

/// The negative control: who does not insert the slot's row with the event fires it again.
#[tokio::test]
async fn of_relays_that_race_for_a_slot_one_appends_its_event() {
    let scene = Scene::new().await;
    put(&scene, &every("0 * * * *", Missed::All)).await.unwrap();
    sleep_through(&scene, 1).await;
    let slot = next_at(&scene).await;
    let fire = join_all((0..8).map(|_| async { scene.relay().fire_due().await.unwrap() }));
    assert_eq!(fire.await.iter().sum::<u64>(), 1);

    let back = async || {
        sqlx::query("update outbox.schedule set next_at = $1")
            .bind(slot)
            .execute(&scene.pool)
            .await
            .unwrap();
    };
    back().await;
    assert_eq!(
        scene.relay().fire_due().await.unwrap(),
        0,
        "its row is there"
    );
    scene.sql("delete from outbox.schedule_slot").await;
    back().await;
    assert_eq!(
        scene.relay().fire_due().await.unwrap(),
        1,
        "without its row"
    );
}

/// How many of the slots of a night and a day fire when relays come back.
async fn after_a_day(cron: &str, missed: Missed) -> u64 {
    let scene = Scene::new().await;
    put(&scene, &every(cron, missed)).await.unwrap();
    sleep_through(&scene, 24).await;
    let fired = scene.relay().fire_due().await.unwrap();
    assert!(next_at(&scene).await > outbox::clock::now());
    assert_eq!(scene.relay().fire_due().await.unwrap(), 0);
    fired
}

#[tokio::test]
async fn missed_slots_fire_never_once_or_all_of_them_within_bounds() {
    // Half past the hour or at it, whichever is farther from now.
    let minute = outbox::clock::now().format("%M").to_string();
    let minute: u32 = minute.parse().unwrap();
    let far = (minute + 30) % 60;
    let hourly = format!("{far} * * * *");

    assert_eq!(after_a_day(&hourly, Missed::Skip).await, 0);
    assert_eq!(after_a_day(&hourly, Missed::Once).await, 1);
    assert_eq!(after_a_day(&hourly, Missed::All).await, 24);
    assert_eq!(after_a_day("* * * * *", Missed::All).await, 100);
    assert_eq!(
        after_a_day("* * * * *", Missed::Skip).await,
        1,
        "the newest is in time"
    );
}

#[tokio::test]
async fn the_event_of_a_slot_says_which_and_who_wanted_it() {
    let scene = Scene::new().await;
    let new = every("0 * * * *", Missed::Once);
    put(&scene, &new).await.unwrap();
    sleep_through(&scene, 1).await;
    let slot = next_at(&scene).await;

    scene.relay().fire_due().await.unwrap();
    scene.publish().await;

    let events = log::read(&scene.pool, Lane::Interactive, 10).await;
    let facts = events[0].payload.to_value();
    assert_eq!(facts["shelf"], 7);
    let said: DateTime<Utc> = facts["slot"].as_str().unwrap().parse().unwrap();
    assert_eq!((said, events[0].key), (slot, new.key));
    assert_eq!(
        (events[0].actor.as_str(), events[0].reason.as_deref()),
        ("owner", Some("schedule stock"))
    );
}

#[tokio::test]
async fn writing_a_schedule_again_keeps_its_place_and_changing_it_begins_anew() {
    let scene = Scene::new().await;
    put(&scene, &every("0 * * * *", Missed::Once))
        .await
        .unwrap();
    sleep_through(&scene, 5).await;
    let missed = next_at(&scene).await;

    put(&scene, &every("0 * * * *", Missed::All)).await.unwrap();
    assert_eq!(next_at(&scene).await, missed);
    put(&scene, &every("5 * * * *", Missed::All)).await.unwrap();
    assert!(next_at(&scene).await > outbox::clock::now());
}

#[tokio::test]
async fn a_paused_schedule_fires_nothing_and_a_removed_one_is_gone() {
    let scene = Scene::new().await;
    put(&scene, &every("0 * * * *", Missed::Once))
        .await
        .unwrap();
    sleep_through(&scene, 2).await;
    let mut tx = scene.outbox.begin(Origin::of("owner")).await.unwrap();
    assert!(schedule::pause(&mut tx, "stock").await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(scene.relay().fire_due().await.unwrap(), 0);
    assert!(schedule::list(&scene.pool).await.unwrap()[0].is_paused);

    let mut tx = scene.outbox.begin(Origin::of("owner")).await.unwrap();
    assert!(schedule::resume(&mut tx, "stock").await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(scene.relay().fire_due().await.unwrap(), 1);

    let mut tx = scene.outbox.begin(Origin::of("owner")).await.unwrap();
    assert!(schedule::remove(&mut tx, "stock").await.unwrap());
    assert!(!schedule::remove(&mut tx, "other").await.unwrap());
    tx.commit().await.unwrap();
    assert!(schedule::list(&scene.pool).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_schedule_that_cannot_be_read_is_not_written() {
    let scene = Scene::new().await;
    let cron = put(&scene, &every("at noon", Missed::Once)).await;
    assert!(matches!(cron, Err(PutError::Cron { .. })));
    let zone = NewSchedule {
        zone: "Mars/Base".to_owned(),
        ..every("0 2 * * *", Missed::Once)
    };
    assert!(matches!(put(&scene, &zone).await, Err(PutError::Zone(_))));
    let never = put(&scene, &every("0 0 30 2 *", Missed::Once)).await;
    assert!(matches!(never, Err(PutError::Never(_))), "{never:?}");
}
