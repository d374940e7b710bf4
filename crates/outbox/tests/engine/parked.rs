//! Events in trouble: they park their key and nothing else, and nothing is forgotten.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use outbox::delivery::dead::{Choice, redrive};
use outbox::{ConsumerSpec, Failure, OnDead, Origin};
use uuid::Uuid;

use crate::host::Host;
use crate::scene::{Scene, by, impatient, keys_of_one_shard, run};
use crate::shop::Notebook;

/// Refuses the events of a key until it is told better.
fn refusing(key: Uuid, better: &Arc<AtomicBool>) -> Notebook {
    let better = Arc::clone(better);
    Notebook::with("notebook", move |events| {
        let refuse = !better.load(Ordering::Relaxed);
        async move {
            let found = events.iter().any(|event| event.key == key);
            if found && refuse {
                Err(Failure::retry("not this key"))
            } else {
                Ok(())
            }
        }
    })
}

async fn states(scene: &Scene) -> Vec<(String, i32)> {
    sqlx::query_as("select state, attempt from outbox.delivery order by tick, id")
        .fetch_all(&scene.pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_poison_event_parks_only_its_key_and_a_redrive_keeps_the_order() {
    let scene = Scene::new().await;
    let (keys, better) = (keys_of_one_shard(2), Arc::default());
    let (poisoned, healthy) = (keys[0], keys[1]);
    let _worker = Host::worker(&scene, "worker", |worker| {
        worker.transactional(impatient("notebook", 2), refusing(poisoned, &better));
        worker.transactional(impatient("other", 2), Notebook::of("other"));
    })
    .await;

    let first = scene.order(poisoned).await;
    scene.publish().await;
    let dead = scene.until_dead(1).await;
    let mut parked = vec![first];
    let mut passed = Vec::new();
    for _ in 0..2 {
        parked.push(scene.order(poisoned).await);
        passed.push(scene.order(healthy).await);
        scene.publish().await;
    }
    scene.until_handled("notebook", 2).await;
    scene.until_handled("other", 5).await;

    assert_eq!(
        (dead[0].event.event_id, dead[0].event.key),
        (first, poisoned)
    );
    assert_eq!(scene.handled_by("notebook").await, passed);
    let behind = || ("retry".to_owned(), 0);
    scene
        .until_count("select count(*) from outbox.delivery", 3)
        .await;
    assert_eq!(
        states(&scene).await,
        [("dead".to_owned(), 2), behind(), behind()],
        "what follows waits untried"
    );

    better.store(true, Ordering::Relaxed);
    let other = Choice {
        consumer: Some("other".to_owned()),
        ..Choice::default()
    };
    let redriven = async |choice| redrive(&scene.pool, choice, None, &by()).await.unwrap();
    assert_eq!(redriven(&other).await, 0);
    assert_eq!(redriven(&Choice::default()).await, 1);
    scene.until_handled("notebook", 5).await;
    assert_eq!(
        scene.handled_by("notebook").await,
        [passed, parked].concat()
    );
    assert_eq!(states(&scene).await, []);
}

#[tokio::test]
async fn a_consumer_that_skips_its_dead_goes_on_with_the_key() {
    let scene = Scene::new().await;
    let key = keys_of_one_shard(1)[0];
    let events = scene.orders(&[key, key, key], Origin::of("customer")).await;
    let poison = events[0];
    let picky = Notebook::with("notebook", move |events| async move {
        let found = events.iter().any(|event| event.event_id == poison);
        if found {
            Err(Failure::Dead("never".to_owned()))
        } else {
            Ok(())
        }
    });
    let spec = ConsumerSpec {
        on_dead: OnDead::Skip,
        ..impatient("notebook", 5)
    };
    scene.publish().await;

    let _worker = Host::worker(&scene, "worker", |w| w.transactional(spec, picky)).await;

    scene.until_handled("notebook", 2).await;
    let dead = scene.until_dead(1).await;
    assert_eq!((dead[0].event.event_id, dead[0].attempt), (poison, 1));
    assert_eq!(dead[0].reason, "never");
    assert_eq!(scene.handled_by("notebook").await, events[1..]);
}

#[tokio::test]
async fn a_retry_waits_as_long_as_it_was_told() {
    let scene = Scene::new().await;
    let later = Notebook::with("notebook", |_| async {
        let after = Some(Duration::from_secs(3_600));
        Err(Failure::Retry {
            error: "closed today".to_owned(),
            after,
        })
    });
    scene.order(keys_of_one_shard(1)[0]).await;
    scene.publish().await;

    let _worker = Host::worker(&scene, "worker", |w| {
        w.transactional(impatient("notebook", 5), later)
    })
    .await;

    let far = "select count(*) from outbox.delivery where state = 'retry' and attempt = 1
        and last_error = 'closed today' and next_at > now() + interval '59 minutes'";
    scene.until_count(far, 1).await;
}

/// Events of a key that arrive while it is being redriven, from several hands: order holds.
#[tokio::test]
async fn order_holds_while_a_parked_key_drains_and_grows() {
    let scene = Scene::new().await;
    let _relay = Host::relay(&scene, "relay").await;
    let key = keys_of_one_shard(1)[0];
    let calls = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let flaky = move |_| {
        let call = calls.fetch_add(1, Ordering::Relaxed);
        async move {
            if call.is_multiple_of(2) {
                Err(Failure::retry("every other"))
            } else {
                Ok(())
            }
        }
    };
    let flaky = Notebook::with("notebook", flaky);
    let start = |name| {
        let flaky = flaky.clone();
        Host::worker(&scene, name, |w| {
            w.transactional(impatient("notebook", 50), flaky)
        })
    };
    let (_one, _two) = (start("one").await, start("two").await);

    let mut events = Vec::new();
    for _ in 0..15 {
        events.push(scene.order(key).await);
        outbox::clock::pause(Duration::from_millis(60)).await;
    }

    scene.until_handled("notebook", events.len()).await;
    assert_eq!(scene.handled_by("notebook").await, events);
}

/// Whoever writes a delivery behind another waits at its end until the test lets it go.
const HELD: &str = "
    create function shop.hold() returns trigger language plpgsql as $$
    begin
        perform pg_advisory_xact_lock_shared(1);
        return null;
    end $$;
    create constraint trigger hold after insert on outbox.delivery
    deferrable initially deferred for each row
    when (new.attempt = 0) execute function shop.hold()";

/// Neither sees the other: who ends the one before could take no mark away from the one behind.
#[tokio::test]
async fn an_event_that_is_parked_while_the_one_before_it_ends_is_handled() {
    let scene = Scene::new().await;
    let (key, better) = (keys_of_one_shard(1)[0], Arc::default());
    let _worker = Host::worker(&scene, "worker", |worker| {
        worker.transactional(impatient("notebook", 9_999), refusing(key, &better));
    })
    .await;
    let first = scene.order(key).await;
    scene.publish().await;
    let deliveries = "select count(*) from outbox.delivery";
    scene.until_count(deliveries, 1).await;
    sqlx::raw_sql(HELD).execute(&scene.pool).await.unwrap();
    let mut holder = scene.connection().await;
    run(&mut holder, "begin; select pg_advisory_xact_lock(1)").await;
    let second = scene.order(key).await;
    scene.publish().await;
    let waiting = "select count(*) from shop.session where wait_event_type = 'Lock'";
    scene.until_count(waiting, 1).await;

    better.store(true, Ordering::Relaxed);
    scene.until_handled("notebook", 1).await;
    run(&mut holder, "commit").await;

    scene.until_handled("notebook", 2).await;
    assert_eq!(scene.handled_by("notebook").await, [first, second]);
    scene.until_count(deliveries, 0).await;
}

/// The end of the first attempt at a delivery cannot be written.
const UNWRITTEN: &str = "
    create sequence shop.ends;
    create function shop.refuse() returns trigger language plpgsql as $$
    begin
        if nextval('shop.ends') = 1 then
            raise 'not this one';
        end if;
        return new;
    end $$;
    create trigger refuse before update on outbox.delivery for each row
    when (old.state = 'running' and new.state <> 'running') execute function shop.refuse()";

/// Otherwise the key would wait for a minute, until the claim has run out; or the handler would be
/// called as often as the machine can, since an end that could not be written may never be.
#[tokio::test]
async fn an_attempt_whose_end_was_not_written_is_made_again_soon() {
    let began = Instant::now();
    let scene = Scene::new().await;
    sqlx::raw_sql(UNWRITTEN).execute(&scene.pool).await.unwrap();
    let calls = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let third_time_lucky = Notebook::with("notebook", move |_| {
        let call = calls.fetch_add(1, Ordering::Relaxed);
        async move {
            match call {
                0 | 1 => Err(Failure::retry("not yet")),
                _ => Ok(()),
            }
        }
    });
    let event = scene.order(keys_of_one_shard(1)[0]).await;
    scene.publish().await;

    let _worker = Host::worker(&scene, "worker", |worker| {
        worker.transactional(impatient("notebook", 9), third_time_lucky);
    })
    .await;

    scene.until_handled("notebook", 1).await;
    assert_eq!(scene.handled_by("notebook").await, [event]);
    scene
        .until_count("select count(*) from outbox.delivery", 0)
        .await;
    assert_eq!(scene.count("select last_value from shop.ends").await, 1);
    assert!(began.elapsed() >= Duration::from_secs(2), "not before");
}

/// Postgres has no NUL in its texts: an error that cannot be written down would stop its shard.
#[tokio::test]
async fn what_a_failure_says_is_written_down_whatever_it_says() {
    let scene = Scene::new().await;
    let keys = keys_of_one_shard(3);
    let (gone, never) = (keys[0], keys[1]);
    let babbling = Notebook::with("notebook", move |events| async move {
        let babble = format!("\0\u{e9}{}", "x".repeat(100_000));
        match events {
            events if events.iter().any(|event| event.key == gone) => Err(Failure::retry(babble)),
            events if events.iter().any(|event| event.key == never) => Err(Failure::Dead(babble)),
            _ => Ok(()),
        }
    });
    let events = scene.orders(&keys, Origin::of("customer")).await;
    scene.publish().await;

    let _worker = Host::worker(&scene, "worker", |worker| {
        worker.transactional(impatient("notebook", 2), babbling);
    })
    .await;

    scene.until_handled("notebook", 1).await;
    assert_eq!(scene.handled_by("notebook").await, events[2..]);
    for dead in scene.until_dead(2).await {
        let said = dead.reason.split_once('\u{fffd}').map(|(_, rest)| rest);
        assert!(said.is_some_and(|rest| rest.starts_with("\u{e9}xxx")));
        assert_eq!(dead.reason.chars().count(), 8_000);
    }
}

/// Runs the notebook until it has handled 40 of the deliveries that are there, and says how many
/// rows of them it read.
async fn rows_read_to_handle_40(scene: &Scene) -> i64 {
    let spec = impatient("notebook", 9);
    let worker = Host::worker(scene, "worker", |worker| {
        worker.transactional(spec, Notebook::of("notebook"));
    });
    let worker = worker.await;
    scene.until_handled("notebook", 40).await;
    worker.stop().await;
    // A session tells what it read when it ends at the latest.
    let sessions = "select count(*) from shop.session where application_name = 'worker'";
    scene.until_count(sessions, 0).await;
    let read = "select idx_tup_read::bigint + seq_tup_read from (
            select sum(idx_tup_read) as idx_tup_read from pg_stat_user_indexes
            where schemaname = 'outbox' and relname = 'delivery'
        ) as by_index
        join pg_stat_user_tables on schemaname = 'outbox' and relname = 'delivery'";
    scene.count(read).await
}

/// Untried deliveries of one key, but for the first, which waits if `$1`; then 40 of other keys
/// that were tried and are due.
const MANY: &str = "insert into outbox.delivery (
        consumer, event_id, tick, id, topic, schema_version, key, part, lane, at, payload,
        actor, state, attempt, last_error, next_at
    )
    select consumer, gen_random_uuid(), 1, n, 'order.placed', 1,
        case when n <= 20000 then md5('one') else md5(n::text) end::uuid, 0, 0, now(),
        '{}', 'customer', 'retry', is_tried::int, case when is_tried then 'not yet' end,
        now() + case when n = 1 and $1 then interval '1 hour' else interval '0' end
    from outbox.consumer
    cross join generate_series(1, case when $1 then 20040 else 20000 end) as n
    cross join lateral (select n = 1 or n > 20000 as is_tried) as tried";

async fn with_many(is_held: bool) -> Scene {
    let scene = Scene::new().await;
    let spec = impatient("notebook", 9);
    outbox::register(&scene.pool, &spec).await.unwrap();
    let many = sqlx::query(MANY).bind(is_held);
    many.execute(&scene.pool).await.unwrap();
    scene
}

#[tokio::test]
async fn those_that_wait_behind_another_are_not_read_again_and_again() {
    let scene = with_many(true).await;

    let read = rows_read_to_handle_40(&scene).await;

    assert!(read < 3 * 20_000, "{read} rows were read to find 40");
}

#[tokio::test]
async fn those_that_waited_are_handled_in_turn_without_reading_the_rest() {
    let scene = with_many(false).await;
    // It knows now that all of them are of one key, and would go through them for each.
    scene.sql("analyze outbox.delivery").await;

    let read = rows_read_to_handle_40(&scene).await;

    assert!(
        read < 5 * 20_000,
        "{read} rows were read to handle 40 in turn"
    );
}
