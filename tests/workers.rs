//! Promise: what a close leaves to workers, workers do, wherever they run; and what they gave up on
//! is listed and can be had again.

use std::time::{Duration, Instant};

use serde_json::json;
use testkit::until;

use crate::scene::{CONSUMERS, Charge, Scene, THE_END};

const ACCOUNTS: i64 = 40;
const WRITTEN: &str = "select count(*) from billing.document where state = 'written'";

fn usage(scene: &Scene) -> String {
    let charge = |n| Charge::new((n, "2024-09"), n, ("vm", "0.25"), n + 1);
    scene.usage("usage.csv", &(0..ACCOUNTS).map(charge).collect::<Vec<_>>())
}

#[tokio::test]
async fn events_left_without_workers_wait_for_a_relay_which_stops_when_asked() {
    let scene = Scene::open().await;
    let left = scene
        .close(&format!("--usage {} --no-workers", usage(&scene)))
        .await;
    assert_eq!(left["invoices"]["final"], ACCOUNTS);
    assert_eq!(
        (&left["events"]["published"], &left["events"]["handled"]),
        (&json!(0), &json!(0))
    );
    assert!(scene.documents().is_empty());

    let relay = scene.relay("").start();
    scene.until_at_least(ACCOUNTS, WRITTEN).await;
    scene
        .until_at_least(CONSUMERS * ACCOUNTS + THE_END, Scene::HANDLED)
        .await;
    let asked = Instant::now();
    relay
        .stop()
        .await
        .exits(0)
        .says(&["Stopping after the batches in hand", "Stopped"]);

    assert!(
        asked.elapsed() < Duration::from_secs(5),
        "{:?}",
        asked.elapsed()
    );
    assert_eq!(scene.handled().await, CONSUMERS * ACCOUNTS + THE_END);
    assert_eq!(scene.count("select count(*) from outbox.member").await, 0);
    let after = scene.close("").await;
    assert_eq!(after["events"]["handled"], 0);
    assert_eq!(after["checks"]["violated"], 0);
}

#[tokio::test]
async fn one_process_may_publish_and_another_consume() {
    let scene = Scene::open().await;
    scene
        .close(&format!("--usage {} --no-workers", usage(&scene)))
        .await;

    let worker = scene.relay("--role worker --consumers documents").start();
    scene
        .until_at_least(1, "select count(*) from outbox.member where consumer > 0")
        .await;
    // The control: without a relay nothing is published, so nothing can be handled.
    assert_eq!(scene.count("select max(n) from outbox.tick").await, 0);
    let relay = scene.relay("--role relay").start();
    scene.until_at_least(ACCOUNTS, WRITTEN).await;

    assert_eq!(
        scene
            .count("select count(*) from billing.collection_figure")
            .await,
        0
    );
    for process in [worker, relay] {
        process.stop().await.exits(0);
    }
}

/// Every process that ever claimed events for the documents.
const OWNERS: &str = "select distinct owner::text from outbox.position where owner is not null";

#[tokio::test]
async fn where_workers_are_live_a_close_waits_for_them_and_starts_none() {
    let scene = Scene::open().await;
    let relay = scene.relay("").start();
    let roles = "select count(distinct consumer) from outbox.member";
    scene.until_at_least(3, roles).await;

    let closed = scene.close(&format!("--usage {}", usage(&scene))).await;

    assert_eq!(closed["events"]["handled"], CONSUMERS * ACCOUNTS + THE_END);
    let workers = "select distinct member::text from outbox.member where consumer > 0";
    assert_eq!(scene.texts(OWNERS).await, scene.texts(workers).await);
    relay.stop().await.exits(0);
}

/// The control: alone, a close does it itself.
#[tokio::test]
async fn where_no_workers_are_live_a_close_brings_its_own() {
    let scene = Scene::open().await;

    let closed = scene.close(&format!("--usage {}", usage(&scene))).await;

    assert_eq!(closed["events"]["handled"], CONSUMERS * ACCOUNTS + THE_END);
    assert_eq!(scene.texts(OWNERS).await.len(), 1);
    assert_eq!(scene.count("select count(*) from outbox.member").await, 0);
}

/// Somebody asks for a payment, again and again: there is no card, so nothing becomes of it.
const ASK: &str = "
    with asked as (
        select account_id, invoice_id from billing.invoice order by number limit 1
    )
    insert into outbox.event (event_id, topic, schema_version, key, part, lane, payload, actor)
    select gen_random_uuid(), 'payment.wanted', 1, account_id, 0, 0,
        jsonb_build_object('invoice_id', invoice_id, 'why', 'a test'), 'a person'
    from asked";

#[tokio::test]
async fn a_close_ends_beside_people_who_never_do() {
    let scene = Scene::open().await;
    scene.close(&format!("--usage {}", usage(&scene))).await;
    let people = async {
        let mut again = tokio::time::interval(Duration::from_millis(100));
        loop {
            again.tick().await;
            scene.sql(ASK).await;
        }
    };

    let again = tokio::select! {
        again = scene.close("") => again,
        () = people => unreachable!("they never end"),
    };

    assert!(again["events"]["handled"].as_i64().unwrap() > 0, "{again}");
}

/// As if the consumer had given up on one invoice.
const DEAD: &str = "
    insert into outbox.delivery (consumer, event_id, tick, id, topic, schema_version, key, part,
        lane, at, payload, actor, state, attempt, dead_reason)
    select consumer, event_id, 1, id, topic, schema_version, key, part,
        lane, at, payload, event.actor, 'dead', 20, 'the printer is on fire'
    from outbox.consumer, outbox.event
    where name = 'documents' and topic = 'invoice.finalized' and payload ->> 'external_id' = '7'";

pub(crate) async fn with_a_dead_letter() -> Scene {
    let scene = Scene::open().await;
    scene.close(&format!("--usage {}", usage(&scene))).await;
    scene.sql(DEAD).await;
    scene
}

#[tokio::test]
async fn a_dead_letter_makes_the_close_fail_and_says_where_to_look() {
    let scene = with_a_dead_letter().await;

    let closed = scene.month_close("--json").run().await.exits(1);

    assert_eq!(closed.json()["events"]["dead"], 1);
    closed.says(&["1 dead", "dead list"]);
}

#[tokio::test]
async fn a_dead_letter_is_listed_and_tried_again_on_demand() {
    let scene = with_a_dead_letter().await;

    let listed = scene.relay("dead list").run().await.exits(0).out;
    for told in [
        "invoice.finalized for documents",
        "the printer is on fire",
        "1 letter dead",
    ] {
        assert!(listed.contains(told), "{listed}");
    }
    let other = scene
        .relay("dead list --consumer collection-report")
        .run()
        .await
        .exits(0)
        .out;
    assert_eq!(other, "0 letters dead\n");
    scene.relay("dead redrive --dry-run").run().await.exits(0);
    assert_eq!(scene.relay("dead list").run().await.exits(0).out, listed);

    let redriven = scene
        .relay("dead redrive --reason mended")
        .run()
        .await
        .exits(0)
        .out;

    assert_eq!(redriven, "1 letter will be tried again\n");
    let closed = scene.close("").await;
    assert_eq!(
        (&closed["events"]["dead"], &closed["checks"]["violated"]),
        (&json!(0), &json!(0))
    );
    assert_eq!(scene.count("select count(*) from outbox.delivery").await, 0);
}

#[tokio::test]
async fn a_second_signal_does_not_wait_for_the_batches_in_hand() {
    let scene = Scene::open().await;
    scene
        .close(&format!("--usage {} --no-workers", usage(&scene)))
        .await;
    // Somebody holds what the workers need: their batch cannot end.
    let mut held = scene.pool().begin().await.unwrap();
    sqlx::query("lock table billing.document")
        .execute(&mut *held)
        .await
        .unwrap();
    let mut relay = scene.relay("").start();
    let waiting = "select count(*) from pg_locks where not granted
        and relation = 'billing.document'::regclass";
    scene.until_at_least(1, waiting).await;

    relay.ask_to_stop();
    relay.has_said("Stopping after the batches in hand").await;
    let patient = until("an end", Duration::from_millis(300), async || {
        (!relay.is_running()).then_some(())
    });
    assert!(patient.await.is_err(), "it did not wait for its batch");
    relay.ask_to_stop();

    relay.ended().await.exits(1).says(&["Stopped at once"]);
    held.rollback().await.unwrap();
}

/// Of a version that this program does not know: it asks again and again, for a deploy that may be
/// weeks away.
#[tokio::test]
async fn a_close_ends_though_an_event_waits_for_a_deploy_and_says_where_to_look() {
    let scene = Scene::open().await;
    let usage = usage(&scene);
    scene.close(&format!("--usage {usage} --no-workers")).await;
    scene
        .sql(
            "insert into outbox.event (
                event_id, topic, schema_version, key, part, lane, payload, actor
            )
            select gen_random_uuid(), 'invoice.finalized', 99, gen_random_uuid(), 0, 0, '{}',
                'a later version'",
        )
        .await;

    let closed = scene.month_close("--period 2024-09").run().await;

    closed
        .exits(1)
        .says(&["handled but for 4", "retrying", "E2 "]);
    let told = scene.relay("retrying").run().await.exits(0).out;
    assert!(told.contains("invoice.finalized for documents"), "{told}");
}
