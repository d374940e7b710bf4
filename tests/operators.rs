//! Promise: who operates a site sees how it stands, and what they order is done by all processes.

use std::net::TcpListener;

use serde_json::{Value, json};
use testkit::until;

use crate::scene::{CONSUMERS, Charge, PATIENCE, Scene, THE_END, http, workspace};

const ACCOUNTS: i64 = 20;

async fn closed(scene: &Scene) {
    let charge = |n| Charge::new((n, "2024-09"), n, ("vm", "0.25"), n + 1);
    let usage = scene.usage("usage.csv", &(0..ACCOUNTS).map(charge).collect::<Vec<_>>());
    scene.close(&format!("--usage {usage} --no-workers")).await;
}

async fn status(scene: &Scene) -> Value {
    let status = scene.relay("status --json").run().await.exits(0).out;
    serde_json::from_str(&status).unwrap()
}

fn of<'a>(status: &'a Value, name: &str) -> &'a Value {
    let mut consumers = status["consumers"].as_array().unwrap().iter();
    consumers.find(|of| of["name"] == name).unwrap()
}

pub(crate) fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

#[tokio::test]
async fn a_person_and_a_monitor_see_what_waits_and_what_was_done() {
    let scene = Scene::open().await;
    closed(&scene).await;
    let relay = scene.relay("--role relay").start();
    scene
        .until_at_least(1, "select count(*) from outbox.tick where n > 0")
        .await;
    relay.stop().await.exits(0);
    let refunds = scene.relay("--consumers refunds").start();
    refunds.has_said("consumers: refunds").await;
    refunds.stop().await.exits(0);
    let page = scene.relay("status").run().await.exits(0).out;
    assert!(page.contains("none: start `outbox-relay`"), "{page}");
    assert!(page.contains("runs nowhere"), "{page}");

    let address = free_address();
    let running = scene.relay(&format!("--metrics {address}")).start();
    scene
        .until_at_least(CONSUMERS * ACCOUNTS + THE_END, Scene::HANDLED)
        .await;
    until("Prometheus sees it", PATIENCE, async || {
        let page = http::text(&address, "/metrics").await?;
        let line = format!("outbox_handled_total{{consumer=\"documents\"}} {ACCOUNTS}");
        let gauges = [
            "outbox_processes{consumer=\"documents\"} 1",
            "outbox_relays 1",
        ];
        let all = gauges.iter().all(|gauge| page.contains(gauge));
        (page.contains(&line) && all).then_some(())
    })
    .await
    .unwrap();
    let status = status(&scene).await;
    assert_eq!(of(&status, "documents")["unread"], 0);
    assert_eq!(status["relays"], 1);
    running.stop().await.exits(0);
}

/// What each of the names stands for is said in `docs/operating.md`, which must know them all.
const METRICS: [&str; 28] = [
    "billing_check_violations",
    "billing_check_seconds",
    "billing_check_timestamp_seconds",
    "outbox_ticks_total",
    "outbox_published_total",
    "outbox_tick_events",
    "outbox_relays",
    "outbox_sample_age_seconds",
    "outbox_tick_age_seconds",
    "outbox_unpublished_events",
    "outbox_oldest_unpublished_seconds",
    "outbox_planned_events",
    "outbox_due_events",
    "outbox_oldest_writer_seconds",
    "outbox_oldest_writer_pid",
    "outbox_batches",
    "outbox_batch_remaining_events",
    "outbox_handled_total",
    "outbox_batch_seconds",
    "outbox_parked_total",
    "outbox_unread_events",
    "outbox_late_seconds",
    "outbox_processes",
    "outbox_closed_processes",
    "outbox_deliveries_in_trouble",
    "outbox_blocked_keys",
    "outbox_dead_letters",
    "outbox_paused",
];

/// The names of the metrics on a page of Prometheus'.
fn names(page: &str) -> Vec<&str> {
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.filter_map(|line| line.split(' ').next()).collect()
}

/// An event that no program can read: the first attempt parks it.
const UNREADABLE: &str = "
    insert into outbox.event (event_id, topic, schema_version, key, part, lane, payload, actor)
    select gen_random_uuid(), 'invoice.finalized', 99, gen_random_uuid(), 0, 0, '{}', 'a test'";

#[tokio::test]
async fn every_metric_is_shown_and_explained() {
    let scene = Scene::open().await;
    closed(&scene).await;
    scene.sql(UNREADABLE).await;
    let address = free_address();
    let running = scene
        .relay("")
        .env("BILLING_METRICS", &address)
        .env("BILLING_CHECKS", "* * * * * *")
        .start();

    let shown = until("all metrics are shown", PATIENCE, async || {
        let page = http::text(&address, "/metrics").await?;
        let all = METRICS.iter().all(|name| names(&page).contains(name));
        all.then_some(page)
    });
    let page = shown.await.unwrap();

    assert_eq!(names(&page).len(), METRICS.len(), "{page}");
    let ticks = page
        .lines()
        .filter(|line| line.starts_with("outbox_tick_events_bucket"));
    assert!(ticks.count() > 1, "{page}");
    let manual = std::fs::read_to_string(workspace().join("docs/operating.md")).unwrap();
    for name in METRICS {
        assert!(
            manual.contains(&format!("`{name}`")),
            "{name} is not explained"
        );
    }
    running.stop().await.exits(0);
}

#[tokio::test]
async fn a_batch_says_what_it_still_waits_for() {
    let scene = Scene::open().await;
    closed(&scene).await;
    let relay = scene.relay("--role relay").start();
    scene
        .until_at_least(1, "select count(*) from outbox.tick where n > 0")
        .await;

    let before = status(&scene).await;
    let batch = &before["batches"][0];
    assert_eq!(batch["name"], "month close 2024-09");
    assert_eq!(
        (&batch["state"], &batch["remaining"]),
        (&json!("sealed"), &json!(ACCOUNTS))
    );
    let page = scene.relay("status").run().await.exits(0).out;
    assert!(page.contains("month close 2024-09  sealed"), "{page}");
    let worker = scene.relay("--role worker").start();
    scene
        .until_at_least(CONSUMERS * ACCOUNTS + THE_END, Scene::HANDLED)
        .await;

    assert_eq!(status(&scene).await["batches"], json!([]));
    worker.stop().await.exits(0);
    relay.stop().await.exits(0);
}

#[tokio::test]
async fn the_log_is_followed_and_a_consumer_replayed() {
    let scene = Scene::open().await;
    closed(&scene).await;
    let running = scene.relay("").start();
    scene
        .until_at_least(CONSUMERS * ACCOUNTS + THE_END, Scene::HANDLED)
        .await;

    let tail = scene
        .relay("tail --from 1 --json --topic invoice.finalized")
        .start();
    tail.has_printed(20).await;
    let lines = tail.stop().await.exits(0).out;
    let events: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(events.len(), 20);
    assert!(
        events
            .iter()
            .all(|event| event["payload"]["invoice_id"].is_string())
    );

    let lost = scene.documents()[0].clone();
    std::fs::remove_file(&lost).unwrap();
    let order = [
        "replay",
        "documents",
        "--from",
        "1",
        "--reason",
        "files lost",
        "--by",
        "ann",
    ];
    scene.relay("").with(order).run().await.exits(0);
    until("the file is back", PATIENCE, async || {
        lost.exists().then_some(())
    })
    .await
    .unwrap();
    running.stop().await.exits(0);
    let noted = "select count(*) from outbox.operation
        where verb = 'replay' and actor = 'ann' and reason = 'files lost'";
    assert_eq!(scene.count(noted).await, 1);
    assert_eq!(scene.close("").await["checks"]["violated"], 0);

    let order = ["replay", "payments", "--from", "1", "--reason", "again"];
    let refused = scene.relay("").with(order).run().await.exits(2);
    refused.says(&["must not be replayed"]);
}
