//! Timers: an event that was planned fires once, when it is due, whoever races and whoever dies.

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};
use outbox::timer::{Planned, pending_timers};
use outbox::{Lane, NewEvent, Origin};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::host::Host;
use crate::log;
use crate::scene::{Scene, impatient, keys, placed, run, until};
use crate::shop::Notebook;

const TIMERS: &str = "select count(*) from outbox.timer";
const EVENTS: &str = "select count(*) from outbox.event";
const LET_TIME_PASS: &str = "update outbox.timer set due_at = due_at - interval '1 hour'";

fn in_an_hour() -> DateTime<Utc> {
    outbox::clock::now() + TimeDelta::minutes(59)
}

/// Plans an order per key for the same instant.
async fn plan(scene: &Scene, keys: &[Uuid], due_at: DateTime<Utc>) -> Vec<Uuid> {
    let mut tx = scene.outbox.begin(Origin::of("customer")).await.unwrap();
    let mut planned = Vec::new();
    for key in keys {
        let locked = tx.locked(*key);
        planned.push(tx.append_at(locked, due_at, placed()));
    }
    assert_eq!(tx.commit().await.unwrap(), 0, "nothing is in the log yet");
    planned
}

#[tokio::test]
async fn a_timer_fires_when_it_is_due_and_not_before() {
    let scene = Scene::new().await;
    let (relay, key) = (scene.relay(), keys(1)[0]);
    let due_at = in_an_hour();
    let event_id = plan(&scene, &[key], due_at).await[0];

    assert_eq!(relay.fire_due().await.unwrap(), 0);
    assert_eq!(
        (scene.count(TIMERS).await, scene.count(EVENTS).await),
        (1, 0)
    );
    scene.sql(LET_TIME_PASS).await;
    assert_eq!(relay.fire_due().await.unwrap(), 1);

    scene.publish().await;
    assert_eq!(log::ids(&scene.pool, 10).await, [event_id]);
    assert_eq!(relay.fire_due().await.unwrap(), 0);
}

#[tokio::test]
async fn a_fired_event_is_the_planned_one() {
    let scene = Scene::new().await;
    let (key, request_id) = (keys(1)[0], Some(outbox::ids::new()));
    let origin = Origin {
        request_id,
        caused_by: request_id,
        traceparent: Some("00-trace".to_owned()),
        ..Origin::of("customer").bulk().because("gift")
    };
    let mut tx = scene.outbox.begin(origin).await.unwrap();
    let locked = tx.locked(key);
    let reminded = NewEvent::new("order.reminded", 2, serde_json::json!({ "nth": 1 }));
    let event_id = tx.append_at(locked, in_an_hour(), reminded);
    tx.commit().await.unwrap();
    scene.sql(LET_TIME_PASS).await;
    let planned: DateTime<Utc> = sqlx::query_scalar("select clock_timestamp()")
        .fetch_one(&scene.pool)
        .await
        .unwrap();

    scene.relay().fire_due().await.unwrap();
    scene.publish().await;

    let events = log::read(&scene.pool, Lane::Bulk, 10).await;
    let [fired] = events.as_slice() else {
        panic!("one event fired: {events:?}");
    };
    assert_eq!((fired.event_id, fired.key), (event_id, key));
    assert_eq!(
        (fired.topic.as_str(), fired.schema_version),
        ("order.reminded", 2)
    );
    assert_eq!((fired.part, fired.lane), (outbox::part_of(key), Lane::Bulk));
    assert_eq!(fired.payload.to_value(), serde_json::json!({ "nth": 1 }));
    assert_eq!(
        (fired.request_id, fired.caused_by),
        (request_id, request_id)
    );
    let words = [&fired.reason, &fired.traceparent].map(Option::as_deref);
    assert_eq!(
        (fired.actor.as_str(), words),
        ("customer", [Some("gift"), Some("00-trace")])
    );
    assert!(fired.at > planned, "its instant is that of firing");
}

#[tokio::test]
async fn a_timer_whose_transaction_rolled_back_never_fires() {
    let scene = Scene::new().await;
    let past = outbox::clock::now() - TimeDelta::hours(1);
    let mut tx = scene.outbox.begin(Origin::of("customer")).await.unwrap();
    let locked = tx.locked(keys(1)[0]);
    tx.append_at(locked, past, placed());
    tx.rollback().await.unwrap();

    assert_eq!(scene.relay().fire_due().await.unwrap(), 0);
    plan(&scene, &keys(1), past).await;
    assert_eq!(
        scene.relay().fire_due().await.unwrap(),
        1,
        "a past one fires at once"
    );
}

#[tokio::test]
async fn what_is_planned_shows_until_it_fired_or_was_cancelled() {
    let scene = Scene::new().await;
    let key = keys(1)[0];
    let due_at = DateTime::from_timestamp(4_000_000_000, 0).unwrap();
    let later = plan(&scene, &[key], due_at + TimeDelta::days(1)).await[0];
    let sooner = plan(&scene, &[key], due_at).await[0];
    plan(&scene, &keys(1), due_at).await;

    let pending = pending_timers(&scene.pool, key).await.unwrap();

    let planned = |event_id, due_at| Planned {
        event_id,
        topic: "order.placed".to_owned(),
        due_at,
    };
    let expected = [
        planned(sooner, due_at),
        planned(later, due_at + TimeDelta::days(1)),
    ];
    assert_eq!(pending, expected);
}

async fn cancel(scene: &Scene, event_id: Uuid, keep: bool) -> bool {
    let mut tx = scene.outbox.begin(Origin::of("customer")).await.unwrap();
    let cancelled = tx.cancel_timer(event_id).await.unwrap();
    if keep {
        tx.commit().await.unwrap();
    } else {
        tx.rollback().await.unwrap();
    }
    cancelled
}

#[tokio::test]
async fn a_cancelled_timer_does_not_fire_unless_the_cancelling_was_rolled_back() {
    let scene = Scene::new().await;
    let planned = plan(&scene, &keys(3), in_an_hour()).await;

    assert!(cancel(&scene, planned[0], true).await);
    assert!(cancel(&scene, planned[1], false).await);
    assert!(!cancel(&scene, planned[0], true).await, "it is gone");
    scene.sql(LET_TIME_PASS).await;
    assert_eq!(scene.relay().fire_due().await.unwrap(), 2);
    assert!(!cancel(&scene, planned[2], true).await, "it has fired");

    scene.publish().await;
    let fired: HashSet<_> = log::ids(&scene.pool, 10).await.into_iter().collect();
    assert_eq!(fired, planned[1..].iter().copied().collect());
}

#[tokio::test]
async fn a_timer_cancelled_in_its_own_transaction_is_never_planned() {
    let scene = Scene::new().await;
    let mut tx = scene.outbox.begin(Origin::of("customer")).await.unwrap();
    let locked = tx.locked(keys(1)[0]);
    let event_id = tx.append_at(locked, in_an_hour(), placed());

    assert!(tx.cancel_timer(event_id).await.unwrap());
    tx.commit().await.unwrap();

    assert_eq!(scene.count(TIMERS).await, 0);
}

#[tokio::test]
async fn four_relays_that_race_fire_each_timer_once() {
    let scene = Scene::new().await;
    let past = outbox::clock::now() - TimeDelta::hours(1);
    let mut planned = plan(&scene, &keys(2_300), past).await;
    let mut relays = Vec::new();
    for name in ["one", "two", "three", "four"] {
        relays.push(outbox::Relay::new(scene.as_seen_by(name, 1).await));
    }

    let fired = futures::future::join_all(relays.iter().map(outbox::Relay::fire_due)).await;

    let fired: Vec<_> = fired.into_iter().map(Result::unwrap).collect();
    println!("the relays fired {fired:?}");
    // Who finds all that is left locked by others has nothing to do; one of the four has the rest.
    scene.relay().fire_due().await.unwrap();
    scene.publish().await;
    let mut read = log::ids(&scene.pool, 1_000).await;
    read.sort_unstable();
    planned.sort_unstable();
    assert_eq!(read, planned);
    assert_eq!(scene.count(TIMERS).await, 0);
}

const DUE: &str = "insert into outbox.event
    (event_id, topic, schema_version, key, part, lane, payload, actor)
    select event_id, topic, schema_version, key, part, lane, payload, actor
    from outbox.timer where due_at <= now()";
const GONE: &str = "delete from outbox.timer where due_at <= now()";

/// Two relays that append first and clear away afterwards, in a transaction of its own.
#[tokio::test]
async fn naive_firing_in_two_transactions_doubles_the_event() {
    let scene = Scene::new().await;
    plan(&scene, &keys(1), in_an_hour()).await;
    scene.sql(LET_TIME_PASS).await;
    let (mut one, mut two) = (scene.connection().await, scene.connection().await);

    run(&mut one, DUE).await;
    run(&mut two, DUE).await;
    run(&mut one, GONE).await;
    run(&mut two, GONE).await;

    assert_eq!(
        (scene.count(TIMERS).await, scene.count(EVENTS).await),
        (0, 2)
    );
}

/// A relay that clears away first, and is killed before it appends.
#[tokio::test]
async fn naive_clearing_before_appending_loses_the_event_in_a_crash() {
    let scene = Scene::new().await;
    plan(&scene, &keys(1), in_an_hour()).await;
    scene.sql(LET_TIME_PASS).await;
    let mut relay = scene.connection().await;

    run(&mut relay, GONE).await;
    drop(relay);

    assert_eq!(scene.relay().fire_due().await.unwrap(), 0);
    assert_eq!(
        (scene.count(TIMERS).await, scene.count(EVENTS).await),
        (0, 0)
    );
}

/// Whoever appends waits for a lock: the timer is deleted then, and nothing is committed.
async fn stall_between_delete_and_commit(holder: &mut PgConnection) {
    run(
        holder,
        "create function shop.stall() returns trigger language plpgsql as $$
         begin
             perform pg_advisory_xact_lock_shared(7);
             return new;
         end $$;
         create trigger stall before insert on outbox.event
             for each row execute function shop.stall();
         select pg_advisory_lock(7)",
    )
    .await;
}

#[tokio::test]
async fn a_relay_killed_between_delete_and_commit_loses_and_repeats_nothing() {
    let scene = Scene::new().await;
    let planned = plan(&scene, &keys(3), in_an_hour()).await;
    let mut holder = scene.connection().await;
    stall_between_delete_and_commit(&mut holder).await;
    let relay = Host::relay(&scene, "killed").await;
    scene.sql(LET_TIME_PASS).await;
    let stalled = "select count(*) from shop.session where application_name = 'killed'
        and wait_event = 'advisory' and query like '%timer: fire due ones%'";
    scene.until_count(stalled, 1).await;

    relay.end_sessions(&scene).await;
    relay.kill();

    let left = "select count(*) from shop.session where application_name = 'killed'";
    scene.until_count(left, 0).await;
    assert_eq!(
        (scene.count(TIMERS).await, scene.count(EVENTS).await),
        (3, 0)
    );
    run(&mut holder, "select pg_advisory_unlock(7)").await;
    assert_eq!(scene.relay().fire_due().await.unwrap(), 3);
    scene.publish().await;
    let fired: HashSet<_> = log::ids(&scene.pool, 10).await.into_iter().collect();
    assert_eq!(fired, planned.into_iter().collect());
}

#[tokio::test]
async fn a_running_relay_fires_and_its_consumers_hear_of_it() {
    let scene = Scene::new().await;
    let _relay = Host::relay(&scene, "relay").await;
    let notebook = Notebook::of("notebook");
    let _worker = Host::worker(&scene, "worker", |w| {
        w.transactional(impatient("notebook", 1), notebook);
    })
    .await;
    let planned = plan(&scene, &keys(1), in_an_hour()).await;

    scene.sql(LET_TIME_PASS).await;

    scene.until_handled("notebook", 1).await;
    assert_eq!(scene.handled_by("notebook").await, planned);
}

#[tokio::test]
async fn trouble_with_timers_does_not_stop_the_log_and_passes() {
    let scene = Scene::new().await;
    run(
        &mut scene.connection().await,
        "alter table outbox.timer rename to hidden",
    )
    .await;
    let _relay = Host::relay(&scene, "relay").await;
    let failed = "select count(*) from outbox.tick where events = 1";

    scene.order(keys(1)[0]).await;
    scene.until_count(failed, 1).await;
    scene.order(keys(1)[0]).await;
    scene.until_count(failed, 2).await;
    run(
        &mut scene.connection().await,
        "alter table outbox.hidden rename to timer",
    )
    .await;
    plan(&scene, &keys(1), outbox::clock::now()).await;

    scene.until_count(failed, 3).await;
}

/// What a key's writers and its timers saw of each other stands in that order in the log.
#[tokio::test]
async fn a_fired_event_stands_between_what_was_before_and_what_comes_after() {
    let scene = Scene::new().await;
    let key = keys(1)[0];
    // It has its transaction id before all others, and commits in the middle.
    let mut early = scene.connection().await;
    run(&mut early, "begin; select pg_current_xact_id()").await;
    let due = |nth| in_an_hour() + TimeDelta::seconds(nth);
    let second = plan(&scene, &[key], due(2)).await[0];
    let first = plan(&scene, &[key], due(1)).await[0];
    scene
        .sql("update outbox.timer set due_at = due_at - interval '2 hours'")
        .await;

    let before = scene.order(key).await;
    scene.publish().await;
    scene.relay().fire_due().await.unwrap();
    let after = log::append(&mut early, key).await;
    run(&mut early, "commit").await;
    let last = scene.order(key).await;
    scene.publish().await;

    let read = log::ids(&scene.pool, 10).await;
    assert_eq!(read, [before, first, second, after, last]);
}

/// A look with nothing due must not read what is planned for later.
#[tokio::test]
async fn an_idle_look_reads_nothing_of_what_is_planned_for_later() {
    let scene = Scene::new().await;
    plan(&scene, &keys(5_000), in_an_hour()).await;
    scene.sql("analyze outbox.timer").await;
    let relay = outbox::Relay::new(scene.as_seen_by("looker", 1).await);
    let read = "select coalesce(sum(seq_tup_read + idx_tup_fetch), 0)::bigint
        from pg_stat_user_tables where relid = 'outbox.timer'::regclass";
    let looks = "select count(*) from shop.session where application_name = 'looker'";

    let before = scene.count(read).await;
    for _ in 0..20 {
        assert_eq!(relay.fire_due().await.unwrap(), 0);
    }
    drop(relay);
    until("its session has reported", async || {
        scene.count(looks).await == 0
    })
    .await;

    let read_by_looks = scene.count(read).await - before;
    assert!(read_by_looks < 100, "{read_by_looks} rows read by 20 looks");
}
