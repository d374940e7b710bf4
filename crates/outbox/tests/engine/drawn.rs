//! When an event's id is drawn, and who is waited for.

use outbox::Origin;

use crate::log;
use crate::scene::{Scene, keys, placed, run};

#[tokio::test]
async fn an_open_transaction_delays_only_itself() {
    let scene = Scene::new().await;
    let mut open = scene.connection().await;
    run(&mut open, "begin; select pg_current_xact_id()").await;

    let event = scene.order(keys(1)[0]).await;
    scene.publish().await;

    let read = log::ids(&scene.pool, 10).await;
    assert_eq!(read, [event], "an open transaction delays only itself");
}

/// Whoever begins first may lock last.
#[tokio::test]
async fn events_of_a_key_are_read_in_the_order_of_its_lock() {
    let scene = Scene::new().await;
    let key = keys(1)[0];
    let mut early = scene.outbox.begin(Origin::of("early")).await.unwrap();
    let first = scene.order(key).await;
    let locked = early.locked(key);
    let second = early.append(locked, placed());
    early.commit().await.unwrap();

    scene.publish().await;

    let read = log::ids(&scene.pool, 10).await;
    assert_eq!(read, [first, second], "the order of the lock");
}

/// A session that says `first` waits when it has one of the two numbers of an event, and not yet
/// the other.
const BETWEEN: &str = "
    create function shop.between() returns void language plpgsql as $$
    begin
        if current_setting('shop.numbers', true) = 'first' then
            perform set_config('shop.numbers', 'second', false);
        elsif current_setting('shop.numbers', true) = 'second' then
            perform pg_advisory_xact_lock_shared(1);
        end if;
    end $$;
    create function shop.xid() returns xid8 language plpgsql as $$
    begin
        perform shop.between();
        return pg_current_xact_id();
    end $$;
    create function shop.id() returns bigint language plpgsql as $$
    begin
        perform shop.between();
        return nextval('outbox.event_id');
    end $$;
    alter table outbox.event
        alter column xid set default shop.xid(), alter column id set default shop.id()";

/// Time passes between an event's two numbers, and the floor of the ticks rises meanwhile.
#[tokio::test]
async fn an_event_that_was_slow_to_be_numbered_is_not_lost_below_the_floor() {
    let scene = Scene::new().await;
    sqlx::raw_sql(BETWEEN).execute(&scene.pool).await.unwrap();
    let (mut holder, mut slow) = (scene.connection().await, scene.connection().await);
    run(&mut holder, "begin; select pg_advisory_xact_lock(1)").await;
    run(&mut slow, "set shop.numbers = 'first'").await;
    let key = keys(1)[0];
    // One draw in 32 is logged and takes a transaction id on its way: the next one does not.
    scene.order(key).await;
    let appending = tokio::spawn(async move { log::append(&mut slow, key).await });
    let waiting = "select count(*) from shop.session where wait_event_type = 'Lock'";
    scene.until_count(waiting, 1).await;

    // Neighbours on the same server hold the floor down for a while: hence many rounds.
    let relay = scene.relay();
    for _ in 0..20 {
        scene.order(key).await;
        relay.cut().await.unwrap();
    }
    run(&mut holder, "commit").await;
    let event = appending.await.unwrap();
    relay.cut().await.unwrap();

    let read = log::ids(&scene.pool, 100).await;
    assert!(read.contains(&event), "an event is lost below the floor");
    assert_eq!(read.len(), 22);
}
