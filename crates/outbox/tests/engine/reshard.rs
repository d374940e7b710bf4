//! Resharding: a consumer's keys are divided otherwise, and each goes on where it was.

use outbox::batch::State;
use outbox::operation::{self, OperationError, Resharded};
use outbox::{Lane, Origin};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::batches::{fill, open, seal, told, until_state};
use crate::host::Host;
use crate::log;
use crate::proxy::Proxy;
use crate::scene::{Scene, by, impatient, keys, noted, operations, until};
use crate::shop::{Gate, Notebook};

async fn notebook(scene: &Scene, who: &str) -> Host {
    Host::worker(scene, who, |worker| {
        worker.transactional(impatient("notebook", 9), Notebook::of("notebook"));
    })
    .await
}

async fn reshard(scene: &Scene, shards: i16) -> Resharded {
    let done = operation::reshard(&scene.pool, "notebook", shards, &by()).await;
    done.unwrap()
}

/// Each event of the log was handled once, and those of a key in the log's order.
async fn assert_each_once_in_order(scene: &Scene) {
    let log = log::read(&scene.pool, Lane::Interactive, 1_000).await;
    scene.until_handled("notebook", log.len()).await;
    let handled = scene.handled().await;
    let mut by_key = std::collections::HashMap::<Uuid, [Vec<Uuid>; 2]>::new();
    for event in &log {
        by_key.entry(event.key).or_default()[0].push(event.event_id);
    }
    for (_, event, key) in handled {
        by_key.entry(key).or_default()[1].push(event);
    }
    for (key, [appended, handled]) in by_key {
        assert_eq!(appended, handled, "of key {key}");
    }
}

/// Appends to the same keys again and again until it is told to stop, some rounds ahead of who
/// handles; says how often.
async fn append_until(scene: &Scene, stop: &CancellationToken) -> i64 {
    let keys = keys(100);
    let handled = "select count(*) from shop.handled";
    let mut rounds = 0;
    while !stop.is_cancelled() {
        for some in keys.chunks(10) {
            scene.orders(some, Origin::of("customer")).await;
        }
        rounds += 1;
        until("the notebook follows", async || {
            stop.is_cancelled() || scene.count(handled).await > 100 * (rounds - 4)
        })
        .await;
    }
    rounds
}

async fn reshard_again_and_again(scene: &Scene, stop: &CancellationToken) {
    let mut seen = 0;
    for (from, to) in [(8, 12), (12, 3), (3, 64), (64, 8)] {
        scene.until_handled("notebook", seen + 300).await;
        let done = reshard(scene, to).await;
        println!("{done:?}");
        assert_eq!((done.from, done.to), (from, to));
        seen = scene.handled_by("notebook").await.len();
    }
    scene.until_handled("notebook", seen + 300).await;
    stop.cancel();
}

#[tokio::test]
async fn each_key_goes_on_where_it_was_when_shards_change_under_load() {
    let scene = Scene::new().await;
    let _relay = Host::relay(&scene, "relay").await;
    let (one, two) = (notebook(&scene, "one").await, notebook(&scene, "two").await);
    let stop = CancellationToken::new();

    let writing = append_until(&scene, &stop);
    let (rounds, ()) = tokio::join!(writing, reshard_again_and_again(&scene, &stop));

    println!("{rounds} rounds of 100 events were appended meanwhile");
    assert_each_once_in_order(&scene).await;
    scene
        .until_count("select count(*) from outbox.delivery", 0)
        .await;
    let log = scene.count("select count(*) from outbox.event").await;
    assert_eq!(outbox::handled(&scene.pool).await.unwrap(), log);
    assert_eq!(operations(&scene).await, vec![noted("reshard", 1); 4]);
    one.stop().await;
    two.stop().await;
}

/// As workers that had four of eight shards would have handled what there is.
const HALF: [&str; 2] = [
    "insert into shop.handled (consumer, event_id, key, tick, id)
        select 'notebook', event_id, key, 0, id from outbox.event where part % 8 < 4 order by id",
    "insert into outbox.position (consumer, generation, lane, shard, n, tick, id, passed)
        select consumer, 0, 0, shard, 1, tick.n, max_id,
            (select count(*) from outbox.event where part % 8 = shard)
        from outbox.consumer, generate_series(0, 3) as shard, outbox.tick
        order by tick.n desc limit 4",
];

#[tokio::test]
async fn what_slower_shards_had_not_handled_is_handled_once_in_order() {
    let scene = Scene::new().await;
    outbox::register(&scene.pool, &impatient("notebook", 9))
        .await
        .unwrap();
    let keys = keys(40);
    for _ in 0..3 {
        scene.orders(&keys, Origin::of("customer")).await;
        scene.publish().await;
    }
    for sql in HALF {
        scene.sql(sql).await;
    }
    let unread = scene
        .count("select count(*) from outbox.event where part % 8 >= 4")
        .await;

    assert_eq!(reshard(&scene, 12).await.parked, unread);
    let _worker = notebook(&scene, "worker").await;
    for _ in 0..3 {
        scene.orders(&keys, Origin::of("customer")).await;
        scene.publish().await;
    }

    assert_each_once_in_order(&scene).await;
    assert_eq!(outbox::handled(&scene.pool).await.unwrap(), 240);
}

/// An event of a key that goes from shard 0 to shard 8, handled by a worker that has heard of 12
/// shards while the one that counts 8 is frozen before it settles it.
async fn handled_after(change: impl AsyncFnOnce(&Scene)) -> (Vec<Uuid>, Uuid) {
    let scene = Scene::new().await;
    scene.let_everyone_believe_to_be_alone().await;
    let proxy = Proxy::start(scene.url(), "-- position: advance").await;
    let spec = || impatient("notebook", 9);
    let _zombie = Host::behind(&scene, &proxy, "zombie", |worker| {
        worker.transactional(spec(), Notebook::of("notebook"));
    })
    .await;
    let key = std::iter::repeat_with(outbox::ids::new)
        .find(|key| outbox::part_of(*key) == 8)
        .unwrap();
    let event = scene.order(key).await;
    scene.publish().await;
    proxy.until_frozen().await;

    change(&scene).await;
    let _heir = notebook(&scene, "heir").await;
    scene.until_handled("notebook", 1).await;
    proxy.thaw();
    proxy.until_answered().await;
    // Whoever is allowed to go on has done so before the one that comes after.
    let last = scene.order(key).await;
    scene.publish().await;
    until("the next is handled", async || {
        scene.handled_by("notebook").await.contains(&last)
    })
    .await;
    let handled = scene.handled_by("notebook").await;
    (
        handled.into_iter().filter(|id| *id != last).collect(),
        event,
    )
}

#[tokio::test]
async fn a_worker_frozen_before_it_settles_loses_its_old_shard() {
    let (handled, event) = handled_after(async |scene| {
        let done = reshard(scene, 12).await;
        assert_eq!((done.from, done.to), (8, 12));
    })
    .await;
    assert_eq!(handled, [event], "whoever was frozen settles nothing");
}

/// The naive way: another number in the row that all processes look at.
#[tokio::test]
async fn naive_another_number_of_shards_lets_two_workers_handle_an_event() {
    let (handled, event) = handled_after(async |scene| {
        scene.sql("update outbox.consumer set shards = 12").await;
        scene
            .sql(
                "insert into outbox.position
                    (consumer, generation, lane, shard, n, tick, id, passed)
                select consumer, 0, lane, shard, 0, 0, 0, 0
                from outbox.consumer, generate_series(0, 1) as lane,
                    generate_series(8, 11) as shard",
            )
            .await;
    })
    .await;
    assert_eq!(handled, [event, event]);
}

#[tokio::test]
async fn it_is_refused_while_calls_are_under_way() {
    let scene = Scene::new().await;
    let gate = Gate::closed();
    let carrier = gate.carrier();
    let _worker = Host::worker(&scene, "worker", |worker| {
        worker.external(impatient("carrier", 1), carrier);
    })
    .await;
    scene.order(keys(1)[0]).await;
    scene.publish().await;
    gate.until_arrived(1).await;

    let again = async || operation::reshard(&scene.pool, "carrier", 3, &by()).await;
    let error = again().await.unwrap_err();
    assert!(matches!(error, OperationError::Busy { .. }), "{error}");
    gate.open();
    scene.until_handled("carrier", 1).await;
    until("the claim has ended", async || again().await.is_ok()).await;
    assert_eq!(operations(&scene).await, [noted("reshard", 1)]);
    scene.order(keys(1)[0]).await;
    scene.publish().await;
    scene.until_handled("carrier", 2).await;
}

#[tokio::test]
async fn a_dry_run_changes_nothing_and_wrong_numbers_are_refused() {
    let scene = Scene::new().await;
    let _worker = notebook(&scene, "worker").await;
    let tried = operation::try_reshard(&scene.pool, "notebook", 12).await;
    assert_eq!(tried.unwrap().to, 12);
    let same = "select count(*) from outbox.consumer where shards = 8 and generation = 0";
    assert_eq!(scene.count(same).await, 1);
    assert!(operations(&scene).await.is_empty());
    scene.order(keys(1)[0]).await;
    scene.publish().await;
    scene.until_handled("notebook", 1).await;

    for (shards, told) in [
        (0, "the keys can be divided into 1 to 64 shards, not 0"),
        (65, "the keys can be divided into 1 to 64 shards, not 65"),
        (8, "\"notebook\" is read in 8 shards already"),
    ] {
        let refused = operation::reshard(&scene.pool, "notebook", shards, &by()).await;
        assert_eq!(refused.unwrap_err().to_string(), told);
    }
}

#[tokio::test]
async fn it_is_refused_while_the_shards_stand_too_far_apart() {
    let scene = Scene::new().await;
    outbox::register(&scene.pool, &impatient("notebook", 9))
        .await
        .unwrap();
    for _ in 0..5 {
        scene.orders(&keys(5_000), Origin::of("customer")).await;
        scene.publish().await;
    }
    scene.sql(HALF[1]).await;

    let refused = operation::reshard(&scene.pool, "notebook", 3, &by()).await;
    let error = refused.unwrap_err();
    assert!(
        matches!(error, OperationError::TooFarApart { .. }),
        "{error}"
    );
    let open = "select count(*) from outbox.position where n = 9223372036854775807";
    assert_eq!(scene.count(open).await, 0);
}

/// What a slower shard had before it is passed for it.
#[tokio::test]
async fn a_seal_that_some_shards_had_passed_still_ends_its_batch() {
    let scene = Scene::new().await;
    outbox::register(&scene.pool, &impatient("notebook", 9))
        .await
        .unwrap();
    let batch = open(&scene).await;
    fill(&scene, batch, &keys(30)).await;
    seal(&scene, batch).await;
    scene.publish().await;
    for sql in HALF {
        scene.sql(sql).await;
    }

    assert!(reshard(&scene, 3).await.parked > 0);
    assert_eq!(told(&scene).await, [0; 3]);
    let _relay = Host::relay(&scene, "relay").await;
    let _worker = notebook(&scene, "worker").await;
    until_state(&scene, batch, State::Succeeded).await;
    assert_eq!(told(&scene).await, [1, 0, 1]);
    scene.until_handled("notebook", 30).await;
}
