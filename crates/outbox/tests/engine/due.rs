//! What is due fires at its time, however much is planned beside it.

use chrono::TimeDelta;
use outbox::Origin;
use serde_json::Value;

use crate::host::Host;
use crate::scene::{Scene, keys, placed};

const PLANNED: &str = "
    insert into outbox.timer
        (event_id, due_at, topic, schema_version, key, part, lane, payload, actor)
    select gen_random_uuid(), clock_timestamp() + interval '1 day' + n * interval '1 second',
        'order.placed', 1, gen_random_uuid(), 0, 0, '{}', 'customer'
    from generate_series(1, 1000000) as n";
const DUE: &str = "
    insert into outbox.timer
        (event_id, due_at, topic, schema_version, key, part, lane, payload, actor)
    values (gen_random_uuid(), clock_timestamp(), 'order.placed', 1, gen_random_uuid(), 0, 0, '{}',
        'customer')";

/// How many pages the look for due timers reads.
async fn pages(scene: &Scene, bound: &str) -> i64 {
    let explain = format!(
        "explain (analyze, buffers, format json) select event_id from outbox.timer
         where due_at <= {bound} order by due_at limit 500 for update skip locked"
    );
    let plan: Value = sqlx::query_scalar(sqlx::AssertSqlSafe(explain))
        .fetch_one(&scene.pool)
        .await
        .unwrap();
    let read = |what: &str| plan[0]["Plan"][what].as_i64().unwrap();
    read("Shared Hit Blocks") + read("Shared Read Blocks")
}

#[tokio::test]
async fn a_due_timer_beside_a_million_planned_ones_is_found_by_index() {
    let scene = Scene::new().await;
    // What the test does not ask about: a million rows on disk, and found by key.
    scene.sql("alter table outbox.timer set unlogged").await;
    scene.sql("drop index outbox.timer_by_key").await;
    scene.sql(PLANNED).await;
    scene.sql(DUE).await;

    let [ours, naive] = [
        pages(&scene, "statement_timestamp()").await,
        pages(&scene, "clock_timestamp()").await,
    ];
    let fired = scene.relay().fire_due().await.unwrap();

    println!("{ours} pages by index, {naive} with a bound that no index can serve");
    assert_eq!(fired, 1);
    assert!(ours < 50, "{ours}");
    assert!(naive > 1_000, "{naive}");
}

#[tokio::test]
async fn a_timer_fires_at_its_instant_and_not_at_the_next_look() {
    let scene = Scene::new().await;
    let _relay = Host::relay(&scene, "relay").await;
    let mut tx = scene.outbox.begin(Origin::of("customer")).await.unwrap();
    let now = outbox::clock::now();
    let timers = keys(9);
    for (nth, key) in timers.iter().enumerate() {
        // Apart by what is no multiple of the look without news.
        let wait = 600 + 170 * i64::try_from(nth).unwrap();
        let locked = tx.locked(*key);
        tx.append_at(locked, now + TimeDelta::milliseconds(wait), placed());
    }
    tx.commit().await.unwrap();

    let fired = "select count(*) from outbox.event";
    scene.until_count(fired, 9).await;

    let late: Vec<i64> = sqlx::query_scalar(
        "select (extract(epoch from at - $1) * 1000)::bigint from outbox.event order by id",
    )
    .bind(now)
    .fetch_all(&scene.pool)
    .await
    .unwrap();
    let mut late: Vec<i64> = late
        .iter()
        .zip(0..)
        .map(|(at, nth)| at - (600 + 170 * nth))
        .collect();
    println!("late by {late:?} ms");
    late.sort_unstable();
    assert!(late[0] >= 0, "{late:?}");
    // The median: this machine may be busy. Looks once a second are late by half of one.
    assert!(late[4] < 50, "{late:?}");
}
