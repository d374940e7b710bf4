//! Batches whose members come into trouble: they wait for who is still tried, and for nobody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use outbox::batch::State;
use outbox::delivery::dead::{Choice, redrive};
use outbox::{ConsumerSpec, Failure};

use super::{fill, open, seal, state, told, until_state};
use crate::host::Host;
use crate::scene::{Scene, by, impatient, keys, run, until};
use crate::shop::{Gate, Notebook};

#[tokio::test]
async fn a_batch_with_a_dead_letter_fails_at_its_end_and_stays_failed_when_it_is_redriven() {
    let scene = Scene::new().await;
    let _relay = Host::relay(&scene, "relay").await;
    let poison = keys(1)[0];
    let healed = Arc::new(AtomicBool::new(false));
    let now = Arc::clone(&healed);
    let notebook = Notebook::with("notebook", move |events| {
        let is_healed = now.load(Ordering::SeqCst);
        async move {
            if !is_healed && events.iter().any(|event| event.key == poison) {
                return Err(Failure::retry("not this one"));
            }
            Ok(())
        }
    });
    let worker = Host::worker(&scene, "worker", |worker| {
        worker.transactional(impatient("notebook", 2), notebook);
    })
    .await;
    let batch = open(&scene).await;
    // The second of the key waits behind the first for ever: it is given up with it.
    let mut members = keys(20);
    members.extend([poison, poison]);
    fill(&scene, batch, &members).await;
    scene.until_handled("notebook", 20).await;
    scene.until_dead(1).await;
    assert_eq!(state(&scene, batch).await, State::Open);

    seal(&scene, batch).await;
    until_state(&scene, batch, State::Failed).await;
    assert_eq!(told(&scene).await, [0, 1, 1]);

    healed.store(true, Ordering::SeqCst);
    redrive(&scene.pool, &Choice::default(), None, &by())
        .await
        .unwrap();
    scene.until_handled("notebook", 22).await;
    scene
        .until_count("select count(*) from outbox.delivery", 0)
        .await;
    assert_eq!(state(&scene, batch).await, State::Failed);
    assert_eq!(told(&scene).await, [0, 1, 1]);
    worker.stop().await;
}

#[tokio::test]
async fn a_batch_whose_member_succeeds_at_a_later_attempt_succeeds() {
    let scene = Scene::new().await;
    let _relay = Host::relay(&scene, "relay").await;
    let failed = Arc::new(AtomicBool::new(false));
    let once = Arc::clone(&failed);
    let notebook = Notebook::with("notebook", move |_| {
        let first = !once.swap(true, Ordering::SeqCst);
        async move {
            if first {
                return Err(Failure::retry("not yet"));
            }
            Ok(())
        }
    });
    let worker = Host::worker(&scene, "worker", |worker| {
        worker.transactional(impatient("notebook", 9), notebook);
    })
    .await;
    let batch = open(&scene).await;
    fill(&scene, batch, &keys(1)).await;
    seal(&scene, batch).await;

    until_state(&scene, batch, State::Succeeded).await;

    assert!(failed.load(Ordering::SeqCst));
    assert_eq!(told(&scene).await, [1, 0, 1]);
    worker.stop().await;
}

#[tokio::test]
async fn a_slow_call_keeps_its_batch_from_ending() {
    let scene = Scene::new().await;
    let _relay = Host::relay(&scene, "relay").await;
    let gate = Gate::closed();
    let carrier = gate.carrier();
    let worker = Host::worker(&scene, "worker", |worker| {
        let patience = Duration::from_millis(20);
        let spec = ConsumerSpec {
            patience,
            ..impatient("carrier", 1)
        };
        worker.external(spec, carrier);
    })
    .await;
    let batch = open(&scene).await;
    fill(&scene, batch, &keys(2)).await;
    seal(&scene, batch).await;
    let passed = "select count(*) from outbox.batch where seal_tick is not null";
    scene.until_count(passed, 1).await;
    let all = "select count(*) from (select max(tick) as tick from outbox.position
        where lane = 0 group by shard) as shard
        where tick >= (select seal_tick from outbox.batch)";
    scene.until_count(all, 8).await;
    assert_eq!(state(&scene, batch).await, State::Sealed);

    gate.open();
    until_state(&scene, batch, State::Succeeded).await;
    assert_eq!(told(&scene).await, [1, 0, 1]);
    worker.stop().await;
}

/// Two facts that come last at once. Each transaction writes its own and then looks.
async fn last_at_once(lock: &str) -> i64 {
    let scene = Scene::new().await;
    let setup = "create table shop.fact (n int); create table shop.whole (done int);
        insert into shop.whole values (0)";
    sqlx::raw_sql(setup).execute(&scene.pool).await.unwrap();
    let look = "update shop.whole set done = done + 1 where (select count(*) from shop.fact) = 2";
    let mut both = [scene.connection().await, scene.connection().await];
    for conn in &mut both {
        run(conn, "begin; insert into shop.fact values (1)").await;
    }
    let [mut left, mut right] = both;
    run(&mut left, lock).await;
    run(&mut left, look).await;
    let lock = lock.to_owned();
    let second = tokio::spawn(async move {
        run(&mut right, &lock).await;
        run(&mut right, look).await;
        run(&mut right, "commit").await;
    });
    let waiting = "select count(*) from shop.session where wait_event_type = 'Lock'";
    until("the second waits or has ended", async || {
        second.is_finished() || scene.count(waiting).await == 1
    })
    .await;
    run(&mut left, "commit").await;
    second.await.unwrap();
    scene.count("select done::bigint from shop.whole").await
}

#[tokio::test]
async fn of_two_that_come_last_at_once_one_sees_the_others_fact() {
    assert_eq!(last_at_once("select 1").await, 0, "each misses the other");
    assert_eq!(last_at_once("select from shop.whole for update").await, 1);
}

/// Whoever passes a seal that was noted waits at its end until the test lets it go.
const HELD: &str = "
    create function shop.hold() returns trigger language plpgsql as $$
    begin
        if exists (
            select from outbox.batch
            where batch.lane = new.lane
                and (new.tick, new.id) >= (batch.seal_tick, batch.seal_id)
                and not exists (
                    select from outbox.position as earlier
                    where earlier.consumer = new.consumer and earlier.lane = new.lane
                        and earlier.n < new.n
                        and (earlier.tick, earlier.id) >= (batch.seal_tick, batch.seal_id)
                )
        ) then
            perform pg_advisory_xact_lock_shared(1);
        end if;
        return null;
    end $$;
    create constraint trigger hold after insert on outbox.position
    deferrable initially deferred for each row execute function shop.hold()";

async fn notebooks(scene: &Scene, worker: &str, consumers: &[&'static str]) -> Host {
    Host::worker(scene, worker, |worker| {
        for consumer in consumers {
            let spec = ConsumerSpec {
                shards: 1,
                ..impatient(consumer, 1)
            };
            worker.transactional(spec, Notebook::of(consumer));
        }
    })
    .await
}

/// Three consumers pass a seal, the last two of them in transactions that overlap.
#[tokio::test]
async fn a_batch_whose_last_facts_come_at_once_ends() {
    let scene = Scene::new().await;
    let _relay = Host::relay(&scene, "relay").await;
    let first = notebooks(&scene, "first", &["one"]).await;
    let last = notebooks(&scene, "last", &["two", "three"]).await;
    let batch = open(&scene).await;
    fill(&scene, batch, &keys(4)).await;
    for consumer in ["one", "two", "three"] {
        scene.until_handled(consumer, 4).await;
    }
    last.stop().await;
    seal(&scene, batch).await;
    let noted = "select count(*) from outbox.batch where seal_tick is not null";
    scene.until_count(noted, 1).await;
    sqlx::raw_sql(HELD).execute(&scene.pool).await.unwrap();
    let mut holder = scene.connection().await;
    run(&mut holder, "begin; select pg_advisory_xact_lock(1)").await;

    let last = notebooks(&scene, "last", &["two", "three"]).await;
    let waiting = "select count(*) from shop.session where wait_event_type = 'Lock'";
    scene.until_count(waiting, 2).await;
    run(&mut holder, "commit").await;

    until("the later of two last facts ends the batch", async || {
        state(&scene, batch).await == State::Succeeded
    })
    .await;
    first.stop().await;
    last.stop().await;
}
