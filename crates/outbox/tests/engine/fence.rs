//! The fence: the next position can be taken once. Whoever did not take it settles nothing.

use outbox::{ConsumerSpec, Origin};
use sqlx::PgConnection;
use sqlx::postgres::PgQueryResult;

use crate::host::Host;
use crate::proxy::Proxy;
use crate::scene::{Scene, impatient, keys, run};
use crate::shop::{Gate, Notebook};

fn one_shard() -> ConsumerSpec {
    ConsumerSpec {
        shards: 1,
        ..impatient("notebook", 1)
    }
}

#[tokio::test]
async fn eight_workers_that_all_believe_in_a_shard_settle_each_event_once() {
    let scene = Scene::new().await;
    scene.let_everyone_believe_to_be_alone().await;
    let mut workers = Vec::new();
    for n in 0..8 {
        let name = format!("worker {n}");
        let notebook = Notebook::of("notebook");
        let start = Host::worker(&scene, &name, |w| w.transactional(one_shard(), notebook));
        workers.push(start.await);
    }

    let mut events = Vec::new();
    for _ in 0..60 {
        events.extend(scene.orders(&keys(3), Origin::of("customer")).await);
        scene.publish().await;
    }

    scene.until_handled("notebook", events.len()).await;
    assert_eq!(
        scene.handled_by("notebook").await,
        events,
        "each once, in order"
    );
    let hands = "select count(distinct worker) from shop.handled";
    println!("{} of eight workers had a share", scene.count(hands).await);
    assert_eq!(scene.count("select count(*) from outbox.delivery").await, 0);
}

/// A position that is a row to update, as most queues keep it: nothing tells the second of two that
/// the first was there.
#[tokio::test]
async fn naive_positions_that_are_overwritten_let_two_workers_handle_an_event() {
    let scene = Scene::new().await;
    let event = scene.order(keys(1)[0]).await;
    run(
        &mut scene.connection().await,
        "create table shop.position as select 0::bigint as id",
    )
    .await;
    let (mut one, mut two) = (scene.connection().await, scene.connection().await);

    for worker in [&mut one, &mut two] {
        run(worker, "begin").await;
        let handle = "insert into shop.handled (consumer, event_id, key, tick, id)
            select 'naive', event_id, key, 0, event.id
            from outbox.event, shop.position where event.id > position.id";
        assert_eq!(execute(worker, handle).await.rows_affected(), 1);
    }
    for worker in [&mut one, &mut two] {
        let settle = "update shop.position set id = (select max(id) from outbox.event)";
        execute(worker, settle).await;
        run(worker, "commit").await;
    }

    assert_eq!(scene.handled_by("naive").await, [event, event]);
}

/// Prunes as the engine does, an hour later.
async fn prune(scene: &Scene) {
    scene
        .sql("update outbox.position set at = at - interval '2 hours'")
        .await;
    scene
        .sql(
            "delete from outbox.position as old where at < now() - interval '1 hour' and n < (
                select max(n) from outbox.position as newest
                where newest.consumer = old.consumer and newest.generation = old.generation
                    and newest.lane = old.lane and newest.shard = old.shard)",
        )
        .await;
}

/// A worker is frozen at a statement, and while it is, a rival moves its shard on by two events and
/// the rows of positions are pruned.
async fn loses_when_frozen_at(statement: &'static str, promise: &str) {
    let scene = Scene::new().await;
    scene.let_everyone_believe_to_be_alone().await;
    let proxy = Proxy::start(scene.url(), statement).await;
    let notebook = Notebook::of("notebook");
    let zombie = Host::behind(&scene, &proxy, "zombie", |worker| {
        worker.transactional(one_shard(), notebook.clone());
    });
    let zombie = zombie.await;
    let first = scene.order(keys(1)[0]).await;
    scene.publish().await;
    proxy.until_frozen().await;

    let _rival = Host::worker(&scene, "rival", |w| w.transactional(one_shard(), notebook)).await;
    scene.until_handled("notebook", 1).await;
    let second = scene.order(keys(1)[0]).await;
    scene.publish().await;
    scene.until_handled("notebook", 2).await;
    prune(&scene).await;
    proxy.thaw();
    let third = scene.order(keys(1)[0]).await;
    scene.publish().await;

    scene.until_handled("notebook", 3).await;
    zombie.stop().await;
    let handled = scene.handled_by("notebook").await;
    assert_eq!(handled, [first, second, third], "{promise}");
    let blamed = "select count(*) from outbox.delivery";
    let blamed = scene.count(blamed).await;
    assert_eq!(blamed, 0, "a lost shard is no failed attempt");
}

/// What a worker sends first when it settles.
const BEGIN: &str = "idle_in_transaction_session_timeout = '5s'";

/// Its key alone would not refuse the position: the row is gone.
#[tokio::test]
async fn a_worker_frozen_before_it_settles_loses_even_after_the_rows_were_pruned() {
    loses_when_frozen_at(BEGIN, "the frozen one settles nothing").await;
}

/// Nor would the guard, in a snapshot from before it was frozen: the newest row is still its own.
#[tokio::test]
async fn a_worker_frozen_inside_its_transaction_loses_even_after_the_rows_were_pruned() {
    let promise = "no snapshot is older than the rival's positions";
    loses_when_frozen_at("-- position: advance", promise).await;
}

const NAIVE: &str = "insert into outbox.position
    (consumer, generation, lane, shard, n, tick, id, passed)
    select consumer, 0, 0, 0, 1, 0, 0, 0 from outbox.consumer on conflict do nothing";
/// The engine's own guard: row 0 must still be the newest.
const GUARDED: &str = "insert into outbox.position
    (consumer, generation, lane, shard, n, tick, id, passed)
    select consumer, 0, 0, 0, 1, 0, 0, 0 from outbox.consumer
    where 0 = (select max(n) from outbox.position where lane = 0 and shard = 0)
    on conflict do nothing";

/// A consumer whose only shard was moved on to row 3, and then pruned.
async fn moved_on_and_pruned(scene: &Scene) {
    scene
        .sql(
            "insert into outbox.position (consumer, generation, lane, shard, n, tick, id, passed)
             select consumer, 0, 0, 0, n, 0, 0, 0
             from outbox.consumer, generate_series(1, 3) as n",
        )
        .await;
    prune(scene).await;
}

async fn execute(conn: &mut PgConnection, sql: &'static str) -> PgQueryResult {
    sqlx::query(sql).execute(conn).await.unwrap()
}

#[tokio::test]
async fn naive_fences_let_a_zombie_through_once_rows_are_pruned() {
    let scene = Scene::new().await;
    outbox::register(&scene.pool, &one_shard()).await.unwrap();
    let mut frozen = scene.connection().await;
    run(
        &mut frozen,
        "begin isolation level repeatable read; select 1 from outbox.position",
    )
    .await;
    moved_on_and_pruned(&scene).await;

    let in_an_old_snapshot = execute(&mut frozen, GUARDED).await.rows_affected();
    run(
        &mut frozen,
        "rollback; begin isolation level read committed",
    )
    .await;
    let without_the_guard = execute(&mut frozen, NAIVE).await.rows_affected();
    run(
        &mut frozen,
        "rollback; begin isolation level read committed",
    )
    .await;
    let ours = execute(&mut frozen, GUARDED).await.rows_affected();

    assert_eq!((in_an_old_snapshot, without_the_guard, ours), (1, 1, 0));
}

#[tokio::test]
async fn a_worker_frozen_inside_its_transaction_holds_nobody_up_for_long() {
    let scene = Scene::new().await;
    scene.let_everyone_believe_to_be_alone().await;
    let gate = Gate::closed();
    let at = gate.clone();
    let frozen = Notebook::with("notebook", move |events| {
        let at = at.clone();
        async move {
            at.pass(events[0].event_id).await;
            Ok(())
        }
    });
    let _frozen = Host::worker(&scene, "frozen", |w| w.transactional(one_shard(), frozen)).await;
    let event = scene.order(keys(1)[0]).await;
    scene.publish().await;
    gate.until_arrived(1).await;

    let started = std::time::Instant::now();
    let notebook = Notebook::of("notebook");
    let _rival = Host::worker(&scene, "rival", |w| w.transactional(one_shard(), notebook)).await;
    scene.until_handled("notebook", 1).await;

    println!("the rival went on after {:.1?}", started.elapsed());
    assert!(started.elapsed().as_secs() < 10);
    gate.open();
    let later = scene.order(keys(1)[0]).await;
    scene.publish().await;
    scene.until_handled("notebook", 2).await;
    assert_eq!(scene.handled_by("notebook").await, [event, later]);
}
