//! Claims whose owner has fallen silent: taken over where a repeated call is harmless, waited for
//! where it is not. And those of an owner that stops are given back.

use std::time::Duration;

use outbox::{Act, ConsumerSpec, External, Origin};

use crate::host::Host;
use crate::scene::{Scene, impatient, keys, keys_of_one_shard, until};
use crate::shop::{Carrier, Forgetful, Gate};

/// So many shards that every process has some.
fn spec() -> ConsumerSpec {
    ConsumerSpec {
        shards: 64,
        patience: Duration::from_millis(100),
        ..impatient("carrier", 5)
    }
}

const RUNNING: &str = "select count(*) from outbox.delivery where state = 'running'";
const BEATS: &str = "update outbox.member set heartbeat = now() + interval '1 hour'";
const SILENT: &str = "update outbox.member set heartbeat = now() - interval '6 seconds'";
const RUN_OUT: &str = "update outbox.position set claim_until = now() - interval '1 second'
    where claim_until is not null";

/// Counts how often somebody tries to claim, from now on.
async fn count_tries(scene: &Scene, of: &'static str) {
    sqlx::raw_sql(of).execute(&scene.pool).await.unwrap();
}
const OF_SHARDS: &str = "create trigger tried before insert on outbox.position
    for each statement execute function shop.count_try()";
const OF_DELIVERIES: &str = "create trigger tried before update on outbox.delivery
    for each statement execute function shop.count_try()";

async fn until_tried(scene: &Scene) {
    let tries = "select last_value from shop.tries";
    let before = scene.count(tries).await;
    until("claims were tried", async || {
        scene.count(tries).await > before + 20
    })
    .await;
}

/// Every shard is claimed for an hour by a member that is not there.
async fn claimed_by_another(scene: &Scene) {
    outbox::register(&scene.pool, &spec()).await.unwrap();
    scene.orders(&keys(100), Origin::of("customer")).await;
    scene.publish().await;
    scene
        .sql(
            "with owner as (
                insert into outbox.member (member, consumer, address)
                select gen_random_uuid(), consumer, '127.0.0.1:9' from outbox.consumer
                returning member, consumer
             )
             insert into outbox.position (consumer, generation, lane, shard, n, tick, id, passed,
                owner, claim_until)
             select consumer, 0, 0, number, 1, 0, 0, 0, member, now() + interval '1 hour'
             from owner, generate_series(0, 63) as number",
        )
        .await;
}

async fn start(scene: &Scene, name: &str, handler: impl External) -> Host {
    Host::worker(scene, name, |w| w.external(spec(), handler)).await
}

#[tokio::test]
async fn a_shard_is_taken_over_from_a_silent_owner_and_not_from_one_that_beats() {
    let scene = Scene::new().await;
    claimed_by_another(&scene).await;
    scene.sql(BEATS).await;
    let gate = Gate::closed();
    gate.open();
    let _worker = start(&scene, "worker", gate.carrier()).await;

    count_tries(&scene, OF_SHARDS).await;
    until_tried(&scene).await;
    assert!(gate.arrived().is_empty(), "its owner beats");
    scene.sql(SILENT).await;

    scene.until_handled("carrier", 100).await;
}

/// Its owner may be frozen, and call when it thaws.
#[tokio::test]
async fn a_shard_whose_calls_would_have_a_second_effect_is_claimed_until_its_deadline() {
    let scene = Scene::new().await;
    claimed_by_another(&scene).await;
    scene.sql(SILENT).await;
    let gate = Gate::closed();
    gate.open();
    let _worker = start(&scene, "worker", Forgetful(gate.carrier())).await;

    count_tries(&scene, OF_SHARDS).await;
    until_tried(&scene).await;
    assert!(gate.arrived().is_empty(), "the deadline has not come");
    scene.sql(RUN_OUT).await;

    scene.until_handled("carrier", 100).await;
}

/// A slow call that its worker left behind when it was killed, and a second worker.
async fn left_behind<H: External>(scene: &Scene, first: H, second: H) -> Host {
    let killed = start(scene, "killed", first).await;
    scene.order(keys(1)[0]).await;
    scene.publish().await;
    scene.until_count(RUNNING, 1).await;
    killed.kill();
    count_tries(scene, OF_DELIVERIES).await;
    start(scene, "second", second).await
}

#[tokio::test]
async fn a_slow_call_is_taken_over_from_a_silent_owner_and_not_from_one_that_beats() {
    let scene = Scene::new().await;
    let (gate, again) = (Gate::closed(), Gate::closed());
    again.open();
    let _second = left_behind(&scene, gate.carrier(), again.carrier()).await;

    scene.sql(BEATS).await;
    until_tried(&scene).await;
    assert!(again.arrived().is_empty(), "its owner beats");
    scene.sql(SILENT).await;

    scene.until_handled("carrier", 1).await;
    assert_eq!(again.arrived(), gate.arrived());
}

#[tokio::test]
async fn a_slow_call_that_would_have_a_second_effect_is_made_again_after_its_deadline() {
    let scene = Scene::new().await;
    let (gate, again) = (Gate::closed(), Gate::closed());
    again.open();
    let handlers = (Forgetful(gate.carrier()), Forgetful(again.carrier()));
    let _second = left_behind(&scene, handlers.0, handlers.1).await;

    scene.sql(SILENT).await;
    until_tried(&scene).await;
    assert!(again.arrived().is_empty(), "the deadline has not come");
    scene
        .sql("update outbox.delivery set deadline = now() - interval '1 second'")
        .await;

    scene.until_handled("carrier", 1).await;
}

#[tokio::test]
async fn a_stop_waits_for_a_slow_call_and_records_its_answer() {
    let scene = Scene::new().await;
    let (gate, again) = (Gate::closed(), Gate::closed());
    let worker = start(&scene, "worker", Forgetful(gate.carrier())).await;
    scene.order(keys(1)[0]).await;
    scene.publish().await;
    scene.until_count(RUNNING, 1).await;

    worker.ask_to_stop();
    // Without a call to wait for, it would have left long before.
    outbox::clock::pause(Duration::from_millis(500)).await;
    assert_eq!(scene.count("select count(*) from outbox.member").await, 1);
    gate.open();
    worker.stop().await;

    assert_eq!(scene.count("select count(*) from outbox.member").await, 0);
    assert_eq!(scene.handled_by("carrier").await, gate.arrived());
    scene
        .until_count("select count(*) from outbox.delivery", 0)
        .await;
    let _second = start(&scene, "second", Forgetful(again.carrier())).await;
    let later = scene.order(keys(1)[0]).await;
    scene.publish().await;
    again.until_arrived(1).await;
    assert_eq!(again.arrived(), [later]);
}

/// One call is slow and the other finds nobody there: the batch waits, and its claim with it.
fn half_down(gate: &Gate) -> Carrier {
    let gate = gate.clone();
    Carrier::with(move |event| {
        let gate = gate.clone();
        async move {
            if event.payload.to_value()["item"] == "book" {
                gate.pass(event.event_id).await;
                return Act::Answer("sent".to_owned());
            }
            let after = Some(Duration::from_secs(3_600));
            Act::Unavailable {
                error: "503".to_owned(),
                after,
            }
        }
    })
}

const CLAIMED: &str = "select count(*) from (
        select distinct on (lane, shard) claim_until from outbox.position
        order by lane, shard, n desc
    ) as newest where claim_until > now()";

/// A worker with a claim that outlives its batch.
async fn waiting(scene: &Scene, gate: &Gate) -> Host {
    let spec = ConsumerSpec {
        shards: 8,
        patience: Duration::ZERO,
        ..spec()
    };
    let handler = Forgetful(half_down(gate));
    let worker = Host::worker(scene, "worker", |w| w.external(spec, handler)).await;
    let keys = keys_of_one_shard(2);
    let mut tx = scene.outbox.begin(Origin::of("customer")).await.unwrap();
    for (key, item) in keys.iter().zip(["book", "lamp"]) {
        let locked = tx.locked(*key);
        let placed = serde_json::json!({ "item": item });
        tx.append(locked, outbox::NewEvent::new("order.placed", 1, placed));
    }
    tx.commit().await.unwrap();
    scene.publish().await;
    gate.until_arrived(1).await;
    worker
}

#[tokio::test]
async fn a_stop_gives_back_what_a_kill_leaves_claimed() {
    for stops in [false, true] {
        let scene = Scene::new().await;
        let gate = Gate::closed();
        let worker = waiting(&scene, &gate).await;
        scene.until_count(CLAIMED, 1).await;

        if stops {
            worker.ask_to_stop();
            gate.open();
            worker.stop().await;
        } else {
            worker.kill();
        }

        assert_eq!(scene.count(CLAIMED).await, i64::from(!stops));
    }
}
