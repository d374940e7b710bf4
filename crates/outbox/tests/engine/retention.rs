//! The log's partitions: made ahead, a net below them, and dropped when nobody needs them.

use std::io::Read as _;
use std::time::{Duration, Instant};

use outbox::operation::forget_stream;
use outbox::retention::{Policy, RetentionError, Retired, index_history, make_ahead, retire};
use outbox::{Lane, LogPoint};
use sqlx::Connection;
use tempfile::TempDir;
use uuid::Uuid;

use crate::host::Host;
use crate::log;
use crate::scene::{Scene, by, impatient, keys, noted, operations, run};
use crate::shop::Notebook;

const LAST_OF_THE_FIRST: &str = "select setval('outbox.event_id', 9999999)";

async fn old_history() -> (Scene, Vec<Uuid>) {
    let scene = Scene::new().await;
    let _worker = worker(&scene, "notebook").await;
    let _relay = Host::relay(&scene, "relay").await;
    let mut events = Vec::new();
    for key in keys(3) {
        events.push(scene.order(key).await);
    }
    scene.until_handled("notebook", 3).await;
    scene.sql(LAST_OF_THE_FIRST).await;
    let made = "select count(*) from pg_inherits where inhparent = 'outbox.event'::regclass";
    scene.until_count(made, 4).await;
    let mut handled = 3;
    let floor = "select floor from outbox.tick order by n desc offset 1 limit 1";
    while scene.count(floor).await < 10_000_000 {
        events.push(scene.order(keys(1)[0]).await);
        handled += 1;
        scene.until_handled("notebook", handled).await;
    }
    scene
        .sql("update outbox.event set at = at - interval '500 days' where id < 10000000")
        .await;
    (scene, events)
}

/// A shard without events of its own is moved every half a minute only.
async fn move_all(scene: &Scene) {
    let moved = "insert into outbox.position
            (consumer, generation, lane, shard, n, tick, id, passed)
        select consumer, generation, lane, shard, max(position.n) + 1, newest.n, newest.max_id,
            max(passed)
        from outbox.position, (select n, max_id from outbox.tick order by n desc limit 1) as newest
        group by consumer, generation, lane, shard, newest.n, newest.max_id";
    scene.sql(moved).await;
}

async fn worker(scene: &Scene, name: &'static str) -> Host {
    Host::worker(scene, name, |worker| {
        worker.transactional(impatient(name, 1), Notebook::of(name));
    })
    .await
}

fn keep_a_year(folder: Option<&TempDir>) -> Policy {
    Policy {
        keep_days: 365,
        export: folder.map(|folder| folder.path().to_owned()),
    }
}

#[tokio::test]
async fn partitions_are_made_beside_an_open_transaction() {
    let scene = Scene::new().await;
    let mut open = scene.connection().await;
    run(&mut open, "begin").await;
    log::append(&mut open, keys(1)[0]).await;
    let naive = "set lock_timeout = '50ms'; create table outbox.naive partition of outbox.event
        for values from (50000000) to (60000000)";
    let refused = sqlx::raw_sql(naive)
        .execute(&mut scene.connection().await)
        .await;
    assert!(refused.unwrap_err().to_string().contains("lock timeout"));

    let made = make_ahead(&scene.pool).await.unwrap();

    assert_eq!(made, ["event_1", "event_2"]);
    assert_eq!(make_ahead(&scene.pool).await.unwrap(), Vec::<String>::new());
    run(&mut open, "commit").await;
    open.close().await.unwrap();
    scene.sql(LAST_OF_THE_FIRST).await;
    scene.order(keys(1)[0]).await;
    assert_eq!(scene.count("select count(*) from outbox.event_1").await, 1);
    let planned = "select count(*) from pg_attribute where attrelid = 'outbox.event_1'::regclass
        and attname = 'xid' and 'n_distinct=-0.5' = any (attoptions)";
    assert_eq!(scene.count(planned).await, 1);
}

#[tokio::test]
async fn maintenance_that_sleeps_fails_no_append() {
    let scene = Scene::new().await;
    let first = scene.order(keys(1)[0]).await;
    scene
        .sql("select setval('outbox.event_id', 35000000)")
        .await;
    let astray = scene.order(keys(1)[0]).await;

    let made = make_ahead(&scene.pool).await.unwrap();

    assert_eq!(
        scene
            .count("select count(*) from outbox.event_default")
            .await,
        1
    );
    assert_eq!(made, ["event_5"]);
    scene
        .sql("select setval('outbox.event_id', 50000000)")
        .await;
    let later = scene.order(keys(1)[0]).await;
    assert_eq!(scene.count("select count(*) from outbox.event_5").await, 1);
    let next = make_ahead(&scene.pool).await.unwrap();
    let following = ["event_6", "event_7"];
    assert_eq!(next, following, "no gap, though one is astray");
    scene.publish().await;
    let mut read = log::ids(&scene.pool, 10).await;
    read.sort();
    assert_eq!(read, [first, astray, later]);
}

#[tokio::test]
async fn history_is_written_to_a_file_and_goes() {
    let (scene, events) = old_history().await;
    move_all(&scene).await;
    let folder = TempDir::new().unwrap();

    let retired = retire(&scene.pool, &keep_a_year(Some(&folder)))
        .await
        .unwrap();

    let file = folder.path().join("event_0.jsonl.gz");
    assert_eq!(
        retired.partitions,
        [("event_0".to_owned(), 3, Some(file.clone()))]
    );
    let mut text = String::new();
    let file = std::fs::File::open(file).unwrap();
    flate2::read::GzDecoder::new(file)
        .read_to_string(&mut text)
        .unwrap();
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let written = lines
        .iter()
        .map(|line| line["event_id"].as_str().unwrap().parse().unwrap());
    assert_eq!(written.collect::<Vec<Uuid>>(), events[..3]);
    assert_eq!(lines[0]["payload"]["item"], "book");
    assert_eq!(
        scene
            .count("select count(*) from outbox.event where id < 10000000")
            .await,
        0
    );
    let again = retire(&scene.pool, &keep_a_year(Some(&folder)))
        .await
        .unwrap();
    assert_eq!(
        again,
        Retired {
            held_by: None,
            ..Retired::default()
        }
    );
}

#[tokio::test]
async fn what_a_consumer_still_needs_stays() {
    let (scene, events) = old_history().await;
    move_all(&scene).await;
    outbox::register(&scene.pool, &impatient("late", 1))
        .await
        .unwrap();

    let retired = retire(&scene.pool, &keep_a_year(None)).await.unwrap();

    assert_eq!(retired.held_by.as_deref(), Some("consumer late"));
    assert_eq!(retired.partitions, []);
    let _relay = Host::relay(&scene, "relay").await;
    let _late = worker(&scene, "late").await;
    scene.until_handled("late", events.len()).await;
    assert_eq!(scene.handled_by("late").await.len(), events.len());
}

#[tokio::test]
async fn what_is_younger_than_the_policy_stays() {
    let (scene, _) = old_history().await;
    move_all(&scene).await;
    let policy = Policy {
        keep_days: 600,
        export: None,
    };

    let retired = retire(&scene.pool, &policy).await.unwrap();

    assert_eq!(retired, Retired::default());
}

#[tokio::test]
async fn a_consumer_that_is_new_starts_where_the_log_begins_now() {
    let (scene, events) = old_history().await;
    move_all(&scene).await;
    scene
        .sql("update outbox.tick set at = at - interval '500 days'")
        .await;

    let retired = retire(&scene.pool, &keep_a_year(None)).await.unwrap();

    assert!(retired.ticks > 0);
    let _relay = Host::relay(&scene, "relay").await;
    let _late = worker(&scene, "late").await;
    let next = scene.order(keys(1)[0]).await;
    scene.until_handled("late", 1).await;
    let handled = scene.handled_by("late").await;
    assert_eq!(handled.last(), Some(&next));
    let passed = scene.count(
        "select sum(passed)::bigint from (
            select distinct on (consumer, lane, shard) passed
            from outbox.position join outbox.consumer using (consumer)
            where name = 'late'
            order by consumer, lane, shard, n desc
        ) as newest",
    );
    assert_eq!(passed.await, i64::try_from(events.len() + 1).unwrap());
}

/// An open transaction keeps the lock from us; those who come after it do not wait behind us.
#[tokio::test]
async fn appenders_do_not_wait_for_a_drop_that_waits() {
    let (scene, _) = old_history().await;
    move_all(&scene).await;
    let mut open = scene.connection().await;
    run(&mut open, "begin").await;
    log::append(&mut open, keys(1)[0]).await;
    let pool = scene.pool.clone();
    let dropping = tokio::spawn(async move { retire(&pool, &keep_a_year(None)).await });

    let mut longest = Duration::ZERO;
    for key in keys(100) {
        let began = Instant::now();
        scene.order(key).await;
        longest = longest.max(began.elapsed());
    }

    assert!(longest < Duration::from_millis(500), "{longest:?}");
    assert!(!dropping.is_finished());
    run(&mut open, "commit").await;
    open.close().await.unwrap();
    let retired: Result<Retired, RetentionError> = dropping.await.unwrap();
    assert_eq!(retired.unwrap().partitions.len(), 1);
}

#[tokio::test]
async fn a_relay_indexes_closed_partitions_by_key() {
    let (scene, _) = old_history().await;
    let indexes = "select count(*) from pg_indexes where indexname like 'event_%_by_key'";
    assert_eq!(scene.count(indexes).await, 0, "a partition is open");
    move_all(&scene).await;

    let _relay = Host::relay(&scene, "one that has just begun").await;

    scene.until_count(indexes, 1).await;
    let mut after = LogPoint::default();
    let read = log::read_after(&scene.pool, Lane::Interactive, &mut after, 100).await;
    assert!(read.len() > 3);
}

/// Two at once would each take the other's unfinished index for one that was broken off.
#[tokio::test]
async fn history_is_indexed_by_one_at_a_time() {
    let (scene, _) = old_history().await;
    move_all(&scene).await;

    let both = tokio::join!(index_history(&scene.pool), index_history(&scene.pool));

    let mut indexed = [both.0.unwrap(), both.1.unwrap()].concat();
    indexed.dedup();
    assert_eq!(indexed, ["event_0"]);
    let again = index_history(&scene.pool).await.unwrap();
    assert_eq!(again, Vec::<String>::new());
}

/// As after a switch from NATS back to Postgres.
#[tokio::test]
async fn a_stream_that_is_forgotten_holds_nothing_back() {
    let (scene, _) = old_history().await;
    move_all(&scene).await;
    let filled = "insert into outbox.stream (stream, lane, tick, id) values ('shop_bulk', 1, 1, 1)";
    scene.sql(filled).await;
    let held = retire(&scene.pool, &keep_a_year(None)).await.unwrap();
    assert_eq!(held.held_by.as_deref(), Some("stream shop_bulk"));

    let unknown = forget_stream(&scene.pool, "shop_blk", &by()).await;
    assert!(unknown.unwrap_err().to_string().contains("shop_bulk"));
    forget_stream(&scene.pool, "shop_bulk", &by())
        .await
        .unwrap();

    let retired = retire(&scene.pool, &keep_a_year(None)).await.unwrap();
    assert_eq!(retired.partitions.len(), 1, "{retired:?}");
    assert_eq!(operations(&scene).await, [noted("forget", 1)]);
}
