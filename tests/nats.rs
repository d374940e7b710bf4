//! Promise: with NATS between relay and workers everything is done once, too, whichever process is
//! killed or frozen on the way.

use serde_json::json;
use testkit::until;

use crate::scene::{CONSUMERS, Charge, Nats, PATIENCE, Running, Scene, THE_END};

const ACCOUNTS: i64 = 400;
const WRITTEN: &str = "select count(*) from billing.document where state = 'written'";

/// People who ask for a payment each: interactive events beside the close's bulk. There is no card,
/// so nothing becomes of it.
const PEOPLE: i64 = 50;
const ASK: &str = "
    insert into outbox.event (event_id, topic, schema_version, key, part, lane, payload, actor)
    select gen_random_uuid(), 'payment.wanted', 1, account_id, 0, 0,
        jsonb_build_object('invoice_id', invoice_id, 'why', 'a test'), 'a person'
    from (select account_id, invoice_id from billing.invoice order by number limit 50) as asked";

fn usage(scene: &Scene) -> String {
    let charge = |n| Charge::new((n, "2024-09"), n, ("vm", "0.25"), n + 1);
    scene.usage("usage.csv", &(0..ACCOUNTS).map(charge).collect::<Vec<_>>())
}

fn start(scene: &Scene, nats: &Nats, role: &str) -> Running {
    let transport = nats.arguments();
    scene.relay(&format!("--role {role} {transport}")).start()
}

/// The streams hold what the log holds of their lanes: no event more or fewer.
async fn expect_streams_are_the_log(scene: &Scene, nats: &Nats) {
    for (stream, lane) in [("billing_interactive", 0), ("billing_bulk", 1)] {
        let log = format!("select count(*) from outbox.event where lane = {lane}");
        let log = scene.count(&log).await;
        assert!(log > 0, "{stream} is not used");
        until("the stream is the log", PATIENCE, async || {
            (nats.messages(stream).await >= log).then_some(())
        })
        .await
        .unwrap();
        assert_eq!(nats.messages(stream).await, log, "{stream}");
    }
}

async fn expect_all_done_once(scene: &Scene) {
    let handled = CONSUMERS * ACCOUNTS + THE_END + PEOPLE;
    scene.until_at_least(handled, Scene::HANDLED).await;
    assert_eq!(scene.handled().await, handled);
    assert_eq!(scene.count("select count(*) from outbox.delivery").await, 0);
    assert_eq!(scene.documents().len(), ACCOUNTS as usize);
    assert_eq!(scene.close("").await["checks"]["violated"], 0);
}

#[tokio::test]
async fn a_month_is_closed_over_nats_though_a_worker_and_a_relay_are_killed() {
    let (scene, nats) = (Scene::open().await, Nats::start().await);
    let relay = start(&scene, &nats, "relay");
    let closed = scene
        .close(&format!("--usage {} --no-workers", usage(&scene)))
        .await;
    assert_eq!(closed["invoices"]["final"], json!(ACCOUNTS));
    let [worker, other] = [(); 2].map(|()| start(&scene, &nats, "worker"));
    scene.until_at_least(1, WRITTEN).await;

    assert!(worker.kill().await && relay.kill().await);

    scene.sql(ASK).await;
    let successor = start(&scene, &nats, "relay");
    expect_streams_are_the_log(&scene, &nats).await;
    expect_all_done_once(&scene).await;
    for process in [successor, other] {
        process.stop().await.exits(0);
    }
}

#[tokio::test]
async fn a_relay_frozen_while_another_publishes_adds_and_takes_nothing_when_it_wakes() {
    let (scene, nats) = (Scene::open().await, Nats::start().await);
    let frozen = start(&scene, &nats, "relay");
    let worker = start(&scene, &nats, "worker");
    let usage = usage(&scene);
    let close = format!("--usage {usage} --no-workers --chunk 20");
    let close = scene.month_close(&close).start();
    until(
        "the close is in the stream, in part",
        PATIENCE,
        async || (nats.messages("billing_bulk").await > 20).then_some(()),
    )
    .await
    .unwrap();

    frozen.freeze();
    let other = start(&scene, &nats, "relay");
    close.ended().await.exits(0);
    expect_bulk(&scene, &nats).await;
    frozen.thaw();
    scene.sql(ASK).await;

    expect_streams_are_the_log(&scene, &nats).await;
    expect_all_done_once(&scene).await;
    for process in [frozen, other, worker] {
        process.stop().await.exits(0);
    }
}

/// The other one publishes all that is there, before the frozen one wakes.
async fn expect_bulk(scene: &Scene, nats: &Nats) {
    let log = scene
        .count("select count(*) from outbox.event where lane = 1")
        .await;
    until("the other relay has published", PATIENCE, async || {
        (nats.messages("billing_bulk").await >= log).then_some(())
    })
    .await
    .unwrap();
}
