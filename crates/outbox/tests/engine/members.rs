//! Ownership: live processes share the shards of a consumer, and take over from those that left.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use outbox::{Act, ConsumerSpec, Lane, Origin};
use sqlx::Connection;

use crate::host::Host;
use crate::log;
use crate::proxy::{PAGE, Proxy};
use crate::scene::{Scene, impatient, keys, until};
use crate::shop::{Carrier, Gate, Notebook};

fn spec() -> ConsumerSpec {
    ConsumerSpec {
        shards: 64,
        ..impatient("notebook", 3)
    }
}

async fn start(scene: &Scene, name: &str) -> Host {
    let notebook = Notebook::of("notebook");
    Host::worker(scene, name, |w| w.transactional(spec(), notebook)).await
}

/// Who handled the events of one more round.
async fn hands(scene: &Scene) -> HashSet<String> {
    scene.sql("truncate shop.handled").await;
    scene.orders(&keys(300), Origin::of("customer")).await;
    scene.publish().await;
    scene.until_handled("notebook", 300).await;
    assert_eq!(scene.count("select count(*) from shop.handled").await, 300);
    let hands: Vec<String> = sqlx::query_scalar("select distinct worker from shop.handled")
        .fetch_all(&scene.pool)
        .await
        .unwrap();
    hands.into_iter().collect()
}

fn set<const N: usize>(names: [&str; N]) -> HashSet<String> {
    names.map(str::to_owned).into()
}

#[tokio::test]
async fn members_that_join_and_leave_share_the_shards() {
    let scene = Scene::new().await;

    let first = start(&scene, "first").await;
    assert_eq!(hands(&scene).await, set(["first"]));
    let second = start(&scene, "second").await;
    until("both have a share", async || hands(&scene).await.len() == 2).await;
    second.stop().await;
    until("one is alone again", async || {
        hands(&scene).await == set(["first"])
    })
    .await;
    first.stop().await;

    assert_eq!(scene.count("select count(*) from outbox.member").await, 0);
    assert_eq!(
        outbox::live_consumers(&scene.pool).await.unwrap(),
        (vec![], false)
    );
}

#[tokio::test]
async fn a_member_that_stops_beating_is_replaced_within_ten_seconds() {
    let scene = Scene::new().await;
    let first = start(&scene, "first").await;
    let _second = start(&scene, "second").await;
    until("both have a share", async || hands(&scene).await.len() == 2).await;

    first.kill();
    let killed = Instant::now();
    assert_eq!(
        outbox::live_consumers(&scene.pool).await.unwrap().0,
        ["notebook"]
    );
    assert_eq!(hands(&scene).await, set(["second"]));

    println!("the second took over after {:.1?}", killed.elapsed());
    assert!(killed.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_stop_finishes_the_batch_in_hand_and_writes_where_it_stands() {
    let scene = Scene::new().await;
    let gate = Gate::closed();
    let at = gate.clone();
    let slow = Notebook::with("notebook", move |events| {
        let at = at.clone();
        async move {
            at.pass(events[0].event_id).await;
            Ok(())
        }
    });
    let spec = ConsumerSpec {
        shards: 1,
        ..spec()
    };
    let worker = Host::worker(&scene, "worker", |w| w.transactional(spec, slow)).await;
    scene.order(keys(1)[0]).await;
    scene.publish().await;
    gate.until_arrived(1).await;

    worker.ask_to_stop();
    gate.open();
    worker.stop().await;

    assert_eq!(scene.handled_by("notebook").await.len(), 1);
    assert_eq!(scene.count("select count(*) from outbox.member").await, 0);
}

#[tokio::test]
async fn a_relay_that_stops_leaves_and_what_was_not_published_is_not_lost() {
    let scene = Scene::new().await;
    let relay = Host::relay(&scene, "relay").await;
    let first = scene.order(keys(1)[0]).await;
    let ticks = "select count(*) from outbox.tick where n > 0";
    scene.until_count(ticks, 1).await;

    relay.stop().await;
    let second = scene.order(keys(1)[0]).await;

    assert_eq!(scene.count("select count(*) from outbox.member").await, 0);
    assert_eq!(scene.count(ticks).await, 1);
    let _next = Host::relay(&scene, "next").await;
    scene.until_count(ticks, 2).await;
    assert_eq!(log::ids(&scene.pool, 10).await, [first, second]);
}

/// Written lazily otherwise, every half a minute: the next process would read it all again.
#[tokio::test]
async fn a_stop_writes_positions_over_events_of_other_topics() {
    let scene = Scene::new().await;
    let spec = ConsumerSpec {
        shards: 1,
        ..spec()
    };
    let notebook = Notebook::of("notebook");
    let proxy = Proxy::start(scene.url(), PAGE).await;
    let worker = Host::behind(&scene, &proxy, "worker", |w| {
        w.transactional(spec, notebook);
    })
    .await;
    let mut other = scene.connection().await;
    log::append_to(&mut other, Lane::Interactive, keys(1)[0], "order.other").await;
    scene.publish().await;
    proxy.until_frozen().await;
    proxy.thaw();
    proxy.until_answered().await;
    let stands = "select max(tick) from outbox.position where lane = 0";
    assert_eq!(
        scene.count(stands).await,
        0,
        "success over foreign events writes nothing"
    );

    worker.stop().await;

    assert_eq!(scene.count(stands).await, 1);
    other.close().await.unwrap();
}

/// A batch that broke off leaves its claim. As long as its process lives nobody else may take it,
/// so the process gives it back when the shard becomes another's.
#[tokio::test]
async fn a_claim_that_was_left_on_a_shard_that_moved_is_given_back() {
    let scene = Scene::new().await;
    let carrier = |worker: &mut outbox::Worker| {
        let carrier = Carrier::with(|_| async { Act::Answer("sent".to_owned()) });
        worker.external(impatient("carrier", 1), carrier);
    };
    let _one = Host::worker(&scene, "one", carrier).await;
    scene
        .sql(
            "insert into outbox.position
                (consumer, generation, lane, shard, n, tick, id, passed, owner, claim_until)
            select distinct on (lane, shard) position.consumer, generation, lane, shard, n + 1,
                tick, id, passed, member, now() + interval '70 seconds'
            from outbox.position, outbox.member
            order by lane, shard, n desc",
        )
        .await;

    let _two = Host::worker(&scene, "two", carrier).await;
    scene.orders(&keys(64), Origin::of("customer")).await;
    scene.publish().await;
    scene.until_handled("carrier", 64).await;
}
