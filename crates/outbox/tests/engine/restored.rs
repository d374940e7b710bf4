//! A dump restored in another cluster: nothing runs until the log is rebased, and then each
//! consumer handles what the dump holds exactly once, from where it stood.

use outbox::operation::By;
use outbox::transport::postgres;
use outbox::{Lane, LogPoint, RebaseError, Worker, WorkerConfig, rebase, refuse_unsafe_server};
use sqlx::Connection;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::host::Host;
use crate::log;
use crate::scene::{self, Scene, by, impatient, keys};
use crate::shop::Notebook;

/// What a dump may catch: events in ticks, some of them handled; one that became visible after a
/// tick with higher ids; and one that no tick has seen.
async fn dumped() -> (Scene, Scene, Vec<Uuid>) {
    let scene = Scene::new().await;
    let worker = notebook(&scene).await;
    scene.order(keys(1)[0]).await;
    scene.publish().await;
    scene.until_handled("notebook", 1).await;
    worker.stop().await;
    let mut late = scene.connection().await;
    sqlx::raw_sql("begin").execute(&mut late).await.unwrap();
    let missed = log::append(&mut late, keys(1)[0]).await;
    let seen = scene.order(keys(1)[0]).await;
    scene.publish().await;
    sqlx::raw_sql("commit").execute(&mut late).await.unwrap();
    late.close().await.unwrap();
    let unseen = scene.order(keys(1)[0]).await;
    let restored = scene.restored_elsewhere().await;
    (scene, restored, vec![missed, seen, unseen])
}

async fn notebook(scene: &Scene) -> Host {
    Host::worker(scene, "worker", |worker| {
        worker.transactional(impatient("notebook", 1), Notebook::of("notebook"));
    })
    .await
}

/// How many events the notebook has not exactly once.
const AMISS: &str = "select count(*) from (
    select event_id from outbox.event
    except all
    select event_id from shop.handled where consumer = 'notebook'
    union all
    (select event_id from shop.handled where consumer = 'notebook'
    except all
    select event_id from outbox.event)
) as amiss";

#[tokio::test]
async fn nothing_runs_on_a_restored_dump_until_it_is_rebased() {
    let (_scene, restored, _) = dumped().await;

    let refusals = [
        refuse_unsafe_server(&restored.pool)
            .await
            .unwrap_err()
            .to_string(),
        restored
            .relay()
            .run(CancellationToken::new())
            .await
            .unwrap_err()
            .to_string(),
        Worker::new(restored.outbox.clone(), WorkerConfig::default())
            .run(CancellationToken::new())
            .await
            .unwrap_err()
            .to_string(),
    ];

    for refusal in refusals {
        assert!(
            refusal.contains("outbox-relay rebase --reason"),
            "{refusal}"
        );
        assert!(refusal.contains("written in cluster"), "{refusal}");
    }
}

#[tokio::test]
async fn a_server_that_hides_its_identity_is_known_by_its_transactions() {
    let (_scene, restored, _) = dumped().await;
    restored
        .sql("update outbox.meta set system_identifier = null")
        .await;

    let refusal = refuse_unsafe_server(&restored.pool)
        .await
        .unwrap_err()
        .to_string();

    assert!(refusal.contains("next transaction id"), "{refusal}");
    assert!(
        refusal.contains("outbox-relay rebase --reason"),
        "{refusal}"
    );
}

/// A chain that begins with a snapshot of the new cluster, as if its transactions were the log's.
#[tokio::test]
async fn a_naive_new_chain_loses_what_no_tick_had_seen() {
    let (_scene, restored, left) = dumped().await;
    restored
        .sql(
            "insert into outbox.tick (n, snapshot, sequence, floor, events, max_id)
            select max(n) + 1, pg_current_snapshot(), 0, 0, 0, max(max_id) from outbox.tick",
        )
        .await;
    restored.order(keys(1)[0]).await;

    restored.publish().await;

    let read = log::ids(&restored.pool, 1).await;
    assert!(!read.contains(&left[0]) && !read.contains(&left[2]));
}

#[tokio::test]
async fn after_a_rebase_each_event_of_the_dump_is_handled_once() {
    let (_scene, restored, left) = dumped().await;
    // Of a program that does not ask where it is.
    let early = restored.order(keys(1)[0]).await;

    let rebased = rebase(&restored.pool, &by()).await.unwrap();
    let later = restored.order(keys(1)[0]).await;

    assert_eq!(rebased.events, 3);
    let _relay = Host::relay(&restored, "relay").await;
    let _worker = notebook(&restored).await;
    restored.until_handled("notebook", 6).await;
    let handled = restored.handled_by("notebook").await;
    assert_eq!(handled[1..], [left[1], left[0], left[2], early, later]);
    assert_eq!(restored.count(AMISS).await, 0);
}

#[tokio::test]
async fn a_rebase_is_written_down_and_not_repeated() {
    let (scene, restored, _) = dumped().await;

    let rebased = rebase(&restored.pool, &by()).await.unwrap();

    let noted = "select count(*) from outbox.rebase
        where tick = (select max(n) from outbox.tick) and actor = 'ann'
            and reason = 'the cause is gone' and events = 2 and from_identifier <> to_identifier";
    assert_eq!((rebased.events, restored.count(noted).await), (2, 1));
    for pool in [&restored.pool, &scene.pool] {
        let again = rebase(pool, &by()).await.unwrap_err();
        assert!(again.to_string().contains("nothing was changed"), "{again}");
    }
    let unsigned = By {
        reason: " ".to_owned(),
        ..by()
    };
    let refused = rebase(&restored.pool, &unsigned).await.unwrap_err();
    assert!(matches!(refused, RebaseError::Unsigned(_)), "{refused}");
}

/// What the first cluster's rows are called there means nothing in the third either.
#[tokio::test]
async fn a_log_can_move_on_more_than_once() {
    let (_scene, first, _) = dumped().await;
    rebase(&first.pool, &by()).await.unwrap();
    first.order(keys(1)[0]).await;
    first.publish().await;
    first.order(keys(1)[0]).await;

    let second = first.restored_elsewhere().await;
    let rebased = rebase(&second.pool, &by()).await.unwrap();
    second.order(keys(1)[0]).await;

    assert_eq!(rebased.events, 1);
    let _relay = Host::relay(&second, "relay").await;
    let _worker = notebook(&second).await;
    second.until_handled("notebook", 7).await;
    assert_eq!(second.count(AMISS).await, 0);
}

/// Some ways of copying a database leave its sequences behind.
#[tokio::test]
async fn ids_go_on_above_those_of_the_log() {
    let (_scene, restored, _) = dumped().await;
    restored.sql("select setval('outbox.event_id', 1)").await;

    rebase(&restored.pool, &by()).await.unwrap();
    restored.order(keys(1)[0]).await;
    restored.publish().await;

    assert_eq!(log::ids(&restored.pool, 10).await.len(), 5);
}

#[tokio::test]
async fn a_reader_in_the_middle_of_a_tick_goes_on_there() {
    let scene = Scene::new().await;
    let events = scene.orders(&keys(9), outbox::Origin::of("customer")).await;
    scene.publish().await;
    let mut conn = scene.pool.acquire().await.unwrap();
    let start = LogPoint::default();
    let page = postgres::read(&mut conn, Lane::Interactive, start, 4)
        .await
        .unwrap()
        .unwrap();
    assert!(page.events.len() < 9);

    let restored = scene.restored_elsewhere().await;
    rebase(&restored.pool, &by()).await.unwrap();
    let later = restored.order(keys(1)[0]).await;
    restored.publish().await;

    let mut after = page.to;
    let rest = log::read_after(&restored.pool, Lane::Interactive, &mut after, 2).await;
    let read = page.events.iter().chain(&rest).map(|event| event.event_id);
    let expected = events.into_iter().chain([later]);
    assert!(read.eq(expected));
}

/// The dump is of any instant: two consumers, a relay and writers are at work.
#[tokio::test]
async fn a_dump_of_a_busy_log_is_handled_once_by_each_consumer() {
    let scene = Scene::new().await;
    let relay = Host::relay(&scene, "relay").await;
    let fill = |worker: &mut Worker| {
        for name in ["notebook", "mirror"] {
            worker.transactional(impatient(name, 1), Notebook::of(name));
        }
    };
    let worker = Host::worker(&scene, "worker", fill).await;
    let keys = keys(20);
    let stop = CancellationToken::new();
    let writing = (0..3).map(|_| write(scene.outbox.clone(), keys.clone(), stop.clone()));
    let writing: Vec<_> = writing.map(tokio::spawn).collect();
    scene.until_handled("mirror", 100).await;

    let restored = scene.restored_elsewhere().await;

    stop.cancel();
    for writer in writing {
        writer.await.unwrap();
    }
    worker.kill();
    relay.kill();
    rebase(&restored.pool, &by()).await.unwrap();
    let _relay = Host::relay(&restored, "relay").await;
    let _worker = Host::worker(&restored, "worker", fill).await;
    restored.order(keys[0]).await;
    let number = usize::try_from(restored.count("select count(*) from outbox.event").await);
    let number = number.unwrap();
    assert!(number > 100);
    for consumer in ["notebook", "mirror"] {
        restored.until_handled(consumer, number).await;
        assert_eq!(restored.handled_by(consumer).await.len(), number);
    }
    assert_eq!(restored.count(AMISS).await, 0);
}

async fn write(outbox: outbox::Outbox, keys: Vec<Uuid>, stop: CancellationToken) {
    for key in keys.iter().cycle() {
        if stop.is_cancelled() {
            return;
        }
        let mut tx = outbox.begin(outbox::Origin::of("customer")).await.unwrap();
        let locked = tx.locked(*key);
        tx.append(locked, scene::placed());
        tx.commit().await.unwrap();
    }
}

/// A row that was restored may bear the number of a transaction of this cluster.
#[tokio::test]
async fn a_restored_row_with_our_number_needs_no_event_of_ours() {
    let scene = Scene::new().await;
    let trigger = "create constraint trigger announced after insert on shop.orders
        deferrable initially deferred for each row
        when (outbox.is_first_change(new.tableoid, 'announced_by', new.announced_by))
        execute function outbox.require_event('order.placed', 'announced_by', 'announced_in')";
    sqlx::raw_sql(trigger).execute(&scene.pool).await.unwrap();
    let clashing = "set session_replication_role = replica; begin;
        insert into shop.orders (announced_by, announced_in)
        select gen_random_uuid(), (pg_current_xact_id()::text::bigint + n)::text::xid8
        from generate_series(1, 2000) as n;
        commit";
    let mut admin = scene.connection().await;
    // Only a superuser may leave out a trigger by that setting.
    let clashing = clashing.replace(
        "set session_replication_role = replica",
        "alter table shop.orders disable trigger announced",
    );
    scene::run(&mut admin, &clashing).await;
    scene::run(
        &mut admin,
        "alter table shop.orders enable trigger announced",
    )
    .await;

    let key = keys(1)[0];
    let mut tx = scene
        .outbox
        .begin(outbox::Origin::of("customer"))
        .await
        .unwrap();
    let locked = tx.locked(key);
    let event = tx.append(locked, scene::placed());
    sqlx::query("insert into shop.orders (announced_by) values ($1)")
        .bind(event)
        .execute(&mut *tx)
        .await
        .unwrap();

    tx.commit().await.unwrap();
}

/// A name in a connection string may lead to another server from one moment to the next.
#[tokio::test]
async fn who_runs_already_stops_when_the_server_is_another_one() {
    let scene = Scene::new().await;
    let relay = tokio::spawn(scene.relay().run(CancellationToken::new()));
    let mut worker = Worker::new(scene.outbox.clone(), WorkerConfig::default());
    worker.transactional(impatient("notebook", 1), Notebook::of("notebook"));
    let worker = tokio::spawn(worker.run(CancellationToken::new()));
    scene.order(keys(1)[0]).await;
    scene.until_handled("notebook", 1).await;

    scene
        .sql("update outbox.meta set system_identifier = 1")
        .await;

    let patience = std::time::Duration::from_secs(25);
    for running in [relay, worker] {
        let ended = tokio::time::timeout(patience, running).await.unwrap();
        let error = ended.unwrap().unwrap_err().to_string();
        assert!(error.contains("written in cluster 1 "), "{error}");
    }
}
