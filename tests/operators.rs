//! Promise: who operates a site sees how it stands, and what they order is done by all processes.

use std::net::TcpListener;

use serde_json::Value;
use testkit::until;

use crate::scene::{CONSUMERS, Charge, PATIENCE, Scene, THE_END, http};

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

fn free_address() -> String {
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
