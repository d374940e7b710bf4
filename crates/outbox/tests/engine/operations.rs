//! Operations: what people do to consumers and their events happens in all processes, and is
//! written down.

use std::time::Duration;

use chrono::TimeDelta;
use outbox::delivery::dead::{self, Choice};
use outbox::operation::{self, By, OperationError, Paused, Start};
use outbox::{ConsumerSpec, Lane, LogPoint, Origin, Tail, WorkerConfig};
use uuid::Uuid;

use crate::host::Host;
use crate::log;
use crate::scene::{Scene, by, impatient, keys, noted, operations, until};
use crate::shop::{Gate, Notebook};

fn replayable(name: &'static str) -> ConsumerSpec {
    ConsumerSpec {
        replayable: true,
        ..impatient(name, 3)
    }
}

/// A process as programs run it, which looks by itself twice a second.
async fn notebook(scene: &Scene, who: &str) -> Host {
    let spec = replayable("notebook");
    Host::worker_with(scene, who, WorkerConfig::default(), |w| {
        w.transactional(spec, Notebook::of("notebook"));
    })
    .await
}

#[tokio::test]
async fn a_pause_is_honoured_by_all_processes_within_a_second() {
    let scene = Scene::new().await;
    let (_one, _two) = (notebook(&scene, "one").await, notebook(&scene, "two").await);
    let other = impatient("other", 1);
    let _other = Host::worker(&scene, "other", |w| {
        w.transactional(other, Notebook::of("other"));
    })
    .await;
    scene.orders(&keys(8), Origin::of("customer")).await;
    scene.publish().await;
    scene.until_handled("notebook", 8).await;

    let paused = operation::pause(&scene.pool, "notebook", None, &by()).await;
    assert_eq!(paused.unwrap(), Paused::UntilResumed);
    scene
        .sql("create table shop.mark as select clock_timestamp() as paused_at")
        .await;
    // Another consumer's handling is the clock: events go on for two seconds.
    let mut number = 8;
    until("two seconds have passed", async || {
        scene.orders(&keys(4), Origin::of("customer")).await;
        scene.publish().await;
        number += 4;
        scene.until_handled("other", number).await;
        scene
            .count(
                "select count(*) from shop.mark
                where clock_timestamp() > paused_at + interval '2 seconds'",
            )
            .await
            == 1
    })
    .await;
    let late = "select count(*) from shop.handled, shop.mark
        where consumer = 'notebook' and at > paused_at + interval '1 second'";
    assert_eq!(scene.count(late).await, 0);
    assert!(scene.handled_by("notebook").await.len() < number);

    assert!(
        operation::resume(&scene.pool, "notebook", &by())
            .await
            .unwrap()
    );
    scene.until_handled("notebook", number).await;
    assert!(
        scene.count(late).await > 0,
        "the measure sees a handling that is late"
    );
    assert!(
        !operation::resume(&scene.pool, "notebook", &by())
            .await
            .unwrap()
    );
    assert_eq!(
        operations(&scene).await,
        [noted("pause", 1), noted("resume", 1)]
    );
}

#[tokio::test]
async fn a_pause_for_a_while_ends_by_itself() {
    let scene = Scene::new().await;
    let _worker = notebook(&scene, "worker").await;
    let a_moment = Some(Duration::from_secs(1));
    let paused = operation::pause(&scene.pool, "notebook", a_moment, &by()).await;
    assert!(matches!(paused.unwrap(), Paused::Until(_)));
    scene.order(keys(1)[0]).await;
    scene.publish().await;
    scene.until_handled("notebook", 1).await;
}

#[tokio::test]
async fn a_consumer_that_does_not_exist_is_answered_with_those_that_do() {
    let scene = Scene::new().await;
    let _worker = notebook(&scene, "worker").await;
    let error = operation::pause(&scene.pool, "notbook", None, &by())
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no consumer \"notbook\"; there are: notebook"
    );
}

#[tokio::test]
async fn a_replay_hands_over_what_comes_after_its_start_once_more() {
    let scene = Scene::new().await;
    let (_one, _two) = (notebook(&scene, "one").await, notebook(&scene, "two").await);
    let mut events = Vec::new();
    for _ in 0..6 {
        events.extend(scene.orders(&keys(5), Origin::of("customer")).await);
        scene.publish().await;
    }
    scene.until_handled("notebook", 30).await;

    let after = operation::replay(&scene.pool, "notebook", Start::Tick(4), &by()).await;
    assert_eq!(after.unwrap().tick, 3);
    for _ in 0..3 {
        events.extend(scene.orders(&keys(5), Origin::of("customer")).await);
        scene.publish().await;
    }

    scene.until_handled("notebook", 60).await;
    let handled = scene.handled_by("notebook").await;
    let times = |event: &Uuid| handled.iter().filter(|id| *id == event).count();
    let counts: Vec<usize> = events.iter().map(times).collect();
    let (once, twice) = (vec![1; 15], vec![2; 15]);
    assert_eq!(counts, [once.clone(), twice, once].concat());
    assert_eq!(operations(&scene).await, [noted("replay", 1)]);
    assert_eq!(
        passed_now(&scene).await,
        30,
        "counted from the start of the replay"
    );
}

async fn passed_now(scene: &Scene) -> i64 {
    scene
        .count(
            "select sum(passed)::bigint from (
                select distinct on (lane, shard) passed
                from outbox.position join outbox.consumer using (consumer, generation)
                order by lane, shard, n desc
            ) as newest",
        )
        .await
}

#[tokio::test]
async fn a_replay_starts_at_an_event_in_the_middle_of_a_tick() {
    let scene = Scene::new().await;
    let _worker = notebook(&scene, "worker").await;
    for _ in 0..2 {
        scene.orders(&keys(6), Origin::of("customer")).await;
        scene.publish().await;
    }
    scene.until_handled("notebook", 12).await;
    let log = log::read(&scene.pool, Lane::Interactive, 100).await;
    let start = Start::Point(log[4].point);

    let after = operation::replay(&scene.pool, "notebook", start, &by()).await;

    assert!(log[3].point <= after.unwrap());
    scene.order(keys(1)[0]).await;
    scene.publish().await;
    scene.until_handled("notebook", 12 + 8 + 1).await;
    let mut again = scene.handled_by("notebook").await.split_off(12);
    again.sort_unstable();
    let log = log::read(&scene.pool, Lane::Interactive, 100).await;
    let mut expected: Vec<Uuid> = log[4..].iter().map(|event| event.event_id).collect();
    expected.sort_unstable();
    assert_eq!(again, expected);
    let beyond = Start::Point(LogPoint { tick: 4, id: 1 });
    let error = operation::replay(&scene.pool, "notebook", beyond, &by()).await;
    assert_eq!(
        error.unwrap_err().to_string(),
        "the log holds the ticks 1 to 3, not 4"
    );
}

#[tokio::test]
async fn a_replay_starts_at_an_instant_too_and_not_outside_of_the_log() {
    let scene = Scene::new().await;
    let _worker = notebook(&scene, "worker").await;
    for _ in 0..3 {
        scene.order(keys(1)[0]).await;
        scene.publish().await;
    }
    scene.until_handled("notebook", 3).await;
    let second = "select at from outbox.event order by id offset 1 limit 1";
    let second = sqlx::query_scalar(second)
        .fetch_one(&scene.pool)
        .await
        .unwrap();

    let after = operation::replay(&scene.pool, "notebook", Start::Since(second), &by()).await;
    assert_eq!(after.unwrap().tick, 1);
    scene.until_handled("notebook", 5).await;
    let error = operation::replay(&scene.pool, "notebook", Start::Tick(9), &by()).await;
    assert_eq!(
        error.unwrap_err().to_string(),
        "the log holds the ticks 1 to 3, not 9"
    );
}

/// What `position: advance` says, by one who has not heard of the replay.
async fn goes_on_in_generation_zero(scene: &Scene) -> u64 {
    scene
        .sql(
            "with newest as (
                select consumer, lane, shard, n, tick, id, passed from outbox.position
                where generation = 0 and lane = 0 and shard = 0 and n < 9223372036854775807
                order by n desc limit 1
            )
            insert into outbox.position
            select consumer, 0, lane, shard, n + 1, tick, id, passed from newest
            where n = (select max(n) from outbox.position
                where generation = 0 and lane = 0 and shard = 0)
            on conflict do nothing",
        )
        .await
}

#[tokio::test]
async fn nobody_goes_on_in_a_generation_that_is_over() {
    let scene = Scene::new().await;
    drop(notebook(&scene, "worker").await);
    assert_eq!(goes_on_in_generation_zero(&scene).await, 1);
    operation::replay(&scene.pool, "notebook", Start::Tick(1), &by())
        .await
        .unwrap();
    let goes_on = goes_on_in_generation_zero(&scene).await;
    assert_eq!(goes_on, 0, "the generation is over");
}

/// The naive way: a number that goes up, and the old positions left as they are.
#[tokio::test]
async fn naive_a_generation_that_is_not_closed_lets_the_frozen_go_on() {
    let scene = Scene::new().await;
    drop(notebook(&scene, "worker").await);
    scene
        .sql("update outbox.consumer set generation = generation + 1")
        .await;
    assert_eq!(goes_on_in_generation_zero(&scene).await, 1);
}

#[tokio::test]
async fn a_replay_waits_for_the_batch_in_hand() {
    let scene = Scene::new().await;
    let gate = Gate::closed();
    let at_gate = gate.clone();
    let slow = Notebook::with("notebook", move |events| {
        let gate = at_gate.clone();
        async move {
            gate.pass(events[0].event_id).await;
            Ok(())
        }
    });
    let spec = replayable("notebook");
    let _worker = Host::worker(&scene, "worker", |w| w.transactional(spec, slow)).await;
    scene.order(keys(1)[0]).await;
    scene.publish().await;
    gate.until_arrived(1).await;

    let pool = scene.pool.clone();
    let replaying =
        tokio::spawn(
            async move { operation::replay(&pool, "notebook", Start::Tick(1), &by()).await },
        );
    scene
        .until_count(
            "select count(*) from pg_stat_activity
            where query like '%close a generation%' and wait_event_type = 'Lock'
                and datname = current_database()",
            1,
        )
        .await;
    gate.open();

    assert_eq!(replaying.await.unwrap().unwrap().tick, 0);
    scene.until_handled("notebook", 2).await;
    let generations = "select sum(passed)::bigint from outbox.position
        where n = 9223372036854775807";
    assert_eq!(
        scene.count(generations).await,
        1,
        "the batch in hand counted before the close"
    );
}

#[tokio::test]
async fn a_replay_is_refused_while_calls_are_under_way_and_to_who_did_not_allow_it() {
    let scene = Scene::new().await;
    let gate = Gate::closed();
    let carrier = gate.carrier();
    let spec = replayable("carrier");
    let _worker = Host::worker(&scene, "worker", |w| w.external(spec, carrier)).await;
    scene.order(keys(1)[0]).await;
    scene.publish().await;
    gate.until_arrived(1).await;

    let replayed = async || operation::replay(&scene.pool, "carrier", Start::Tick(1), &by()).await;
    let error = replayed().await.unwrap_err();
    assert!(matches!(error, OperationError::Busy { .. }), "{error}");
    gate.open();
    scene.until_handled("carrier", 1).await;
    until("the claim has ended", async || replayed().await.is_ok()).await;
    assert_eq!(operations(&scene).await, [noted("replay", 1)]);

    scene
        .sql("update outbox.consumer set replayable = false")
        .await;
    let error = replayed().await.unwrap_err();
    assert!(
        matches!(error, OperationError::NotReplayable { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn an_order_says_who_and_why() {
    let scene = Scene::new().await;
    let _worker = notebook(&scene, "worker").await;
    let long = "x".repeat(501);

    for words in ["", " ", "two\nlines", "\u{1b}[2J", &long] {
        let by = [
            By {
                actor: words.to_owned(),
                ..by()
            },
            By {
                reason: words.to_owned(),
                ..by()
            },
        ];
        for by in &by {
            let (pool, name, none) = (&scene.pool, "notebook", Choice::default());
            let refused = [
                operation::pause(pool, name, None, by).await.map(drop),
                operation::resume(pool, name, by).await.map(drop),
                operation::replay(pool, name, Start::Tick(1), by)
                    .await
                    .map(drop),
                operation::reshard(pool, name, 3, by).await.map(drop),
                dead::redrive(pool, &none, None, by).await.map(drop),
                dead::discard(pool, &none, by).await.map(drop),
            ];
            for refused in refused {
                let refused = refused.unwrap_err();
                assert!(matches!(refused, OperationError::Unsigned(_)), "{refused}");
            }
        }
    }
    assert_eq!(operations(&scene).await, []);
}

#[tokio::test]
async fn what_has_no_time_yet_or_takes_none_is_refused() {
    let scene = Scene::new().await;
    let _worker = notebook(&scene, "worker").await;
    let tomorrow = Start::Since(outbox::clock::now() + TimeDelta::days(1));

    let replayed = operation::replay(&scene.pool, "notebook", tomorrow, &by()).await;
    let followed = Tail::from(scene.pool.clone(), Some(tomorrow)).await;
    let paused = operation::pause(&scene.pool, "notebook", Some(Duration::ZERO), &by()).await;

    for refused in [replayed.map(drop), followed.map(drop)] {
        let refused = refused.unwrap_err();
        assert!(
            matches!(refused, OperationError::InTheFuture { .. }),
            "{refused}"
        );
    }
    assert!(matches!(paused, Err(OperationError::NoPause)), "{paused:?}");
}
