//! The only door to the log: events of a transaction that commits, and of no other.

use std::panic::AssertUnwindSafe;
use std::pin::pin;

use outbox::{Cut, Lane, NewEvent, Origin, UnitOfWork};
use sqlx::{Connection, PgPool};

use crate::log;
use crate::scene::{Scene, keys, placed, run};

#[tokio::test]
async fn an_event_is_invisible_until_its_transaction_commits() {
    let scene = Scene::new().await;
    let mut conn = scene.connection().await;
    let mut tx = conn.begin().await.unwrap();
    let event = log::append(&mut tx, keys(1)[0]).await;

    assert_eq!(scene.relay().cut().await.unwrap(), Cut::Nothing);
    tx.commit().await.unwrap();

    assert_eq!(scene.relay().cut().await.unwrap(), Cut::Tick(1));
    assert_eq!(log::ids(&scene.pool, 10).await, [event]);
}

#[tokio::test]
async fn an_event_that_was_rolled_back_is_never_seen() {
    let scene = Scene::new().await;
    let key = keys(1)[0];
    let append = |tx: &mut UnitOfWork| {
        let locked = tx.locked(key);
        tx.append(locked, placed());
    };
    let mut said_so = scene.outbox.begin(Origin::of("customer")).await.unwrap();
    append(&mut said_so);
    said_so.rollback().await.unwrap();
    let mut forgotten = scene.outbox.begin(Origin::of("customer")).await.unwrap();
    append(&mut forgotten);
    drop(forgotten);
    let mut written = scene.connection().await;
    run(&mut written, "begin").await;
    log::append(&mut written, key).await;
    run(&mut written, "rollback").await;

    let kept = scene.order(key).await;
    scene.publish().await;

    assert_eq!(log::ids(&scene.pool, 10).await, [kept]);
}

#[tokio::test]
async fn events_of_a_transaction_stay_in_the_order_of_their_appends() {
    let scene = Scene::new().await;
    let keys: Vec<_> = keys(10).into_iter().cycle().take(500).collect();

    let appended = scene.orders(&keys, Origin::of("import").bulk()).await;
    scene.publish().await;

    let read = log::read(&scene.pool, Lane::Bulk, 100).await;
    assert_eq!(
        read.iter().map(|event| event.event_id).collect::<Vec<_>>(),
        appended
    );
}

/// Many events are copied, few are inserted: a reader cannot tell.
#[tokio::test]
async fn an_event_says_the_same_in_a_crowd_as_alone() {
    let scene = Scene::new().await;
    let origin = Origin {
        request_id: Some(outbox::ids::new()),
        caused_by: Some(outbox::ids::new()),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        ..Origin::of("import").bulk().because("Žižka's \\ move\n")
    };
    for crowd in [1, 100] {
        let mut tx = scene.outbox.begin(origin.clone()).await.unwrap();
        for key in keys(crowd) {
            let locked = tx.locked(key);
            let facts = serde_json::json!({ "n": 0.1, "text": "\u{1}\"\\→", "none": null });
            tx.append(locked, NewEvent::new("shop.noted", 7, facts));
        }
        tx.commit().await.unwrap();
    }

    let different: i64 = sqlx::query_scalar(
        "select count(distinct (topic, schema_version, lane, payload::text, actor, reason,
            request_id, caused_by, batch_id, traceparent)) from outbox.event",
    )
    .fetch_one(&scene.pool)
    .await
    .unwrap();
    let unplaced =
        "select count(*) from outbox.event where part not between 0 and 63 or xid is null
        or at > clock_timestamp() or at < clock_timestamp() - interval '1 minute'";
    let unplaced: i64 = sqlx::query_scalar(unplaced)
        .fetch_one(&scene.pool)
        .await
        .unwrap();
    assert_eq!((different, unplaced), (1, 0));
}

const DUPLICATE: &str = "insert into shop.orders (order_id, announced_by)
    select order_id, announced_by from shop.orders";
const FIRST: &str = "insert into shop.orders (announced_by) values (gen_random_uuid())";

/// What sqlx's own commit does with a transaction that the server has given up.
#[tokio::test]
async fn naive_commit_after_an_overlooked_failure_says_ok_and_writes_nothing() {
    let scene = Scene::new().await;
    scene.sql(FIRST).await;

    let mut tx = scene.pool.begin().await.unwrap();
    sqlx::query(FIRST).execute(&mut *tx).await.unwrap();
    sqlx::query(DUPLICATE).execute(&mut *tx).await.unwrap_err();
    let committed = tx.commit().await;

    assert!(committed.is_ok());
    assert_eq!(scene.count("select count(*) from shop.orders").await, 1);
}

#[tokio::test]
async fn commit_after_an_overlooked_failure_is_an_error() {
    let scene = Scene::new().await;
    scene.sql(FIRST).await;

    for announce in [false, true] {
        let mut tx = scene.outbox.begin(Origin::of("customer")).await.unwrap();
        sqlx::query(FIRST).execute(&mut *tx).await.unwrap();
        sqlx::query(DUPLICATE).execute(&mut *tx).await.unwrap_err();
        if announce {
            let locked = tx.locked(keys(1)[0]);
            tx.append(locked, placed());
        }
        tx.commit().await.unwrap_err();
    }

    assert_eq!(scene.count("select count(*) from shop.orders").await, 1);
    assert_eq!(outbox::pending(&scene.pool).await.unwrap(), 0);
}

#[tokio::test]
async fn a_lock_token_of_another_unit_of_work_panics() {
    let scene = Scene::new().await;
    let ended = scene.outbox.begin(Origin::of("customer")).await.unwrap();
    let token = ended.locked(keys(1)[0]);
    ended.rollback().await.unwrap();
    let mut other = scene.outbox.begin(Origin::of("customer")).await.unwrap();

    let appended = std::panic::catch_unwind(AssertUnwindSafe(|| other.append(token, placed())));

    appended.unwrap_err();
}

#[tokio::test]
async fn a_unit_of_work_is_read_committed_whatever_the_database_prefers() {
    let scene = Scene::new().await;
    scene
        .sql(
            "do $$ begin execute format('alter database %I set default_transaction_isolation =
                %L', current_database(), 'repeatable read'); end $$",
        )
        .await;
    let pool = scene.pool_with(|with| with).await;
    let isolation = "select current_setting('transaction_isolation')";
    let plain: String = sqlx::query_scalar(isolation)
        .fetch_one(&pool)
        .await
        .unwrap();
    let mut tx = outbox::Outbox::new(pool)
        .begin(Origin::of("customer"))
        .await
        .unwrap();

    let ours: String = sqlx::query_scalar(isolation)
        .fetch_one(&mut *tx)
        .await
        .unwrap();

    assert_eq!(
        (plain.as_str(), ours.as_str()),
        ("repeatable read", "read committed")
    );
}

/// Polls a future so many times and drops it. True when it was done before.
async fn cancelled_after<T>(polls: usize, future: impl Future<Output = T>) -> bool {
    let mut future = pin!(future);
    for _ in 0..polls {
        if futures::poll!(&mut future).is_ready() {
            return true;
        }
        outbox::clock::pause(std::time::Duration::from_millis(1)).await;
    }
    false
}

/// Whether the pool's only connection is inside a transaction that nobody began.
async fn left_open(pool: &PgPool) -> bool {
    let mut conn = pool.acquire().await.unwrap();
    let begun = "select now()::text";
    let first: String = sqlx::query_scalar(begun)
        .fetch_one(&mut *conn)
        .await
        .unwrap();
    let second: String = sqlx::query_scalar(begun)
        .fetch_one(&mut *conn)
        .await
        .unwrap();
    if first == second {
        run(&mut conn, "rollback").await;
    }
    first == second
}

/// After how many polls, of up to twelve, a cancelled beginning leaves a transaction open.
async fn openings(scene: &Scene, naive: bool) -> Vec<usize> {
    let outbox = scene.as_seen_by("canceller", 1).await;
    let mut openings = Vec::new();
    for polls in 0..12 {
        for _ in 0..3 {
            if naive {
                cancelled_after(polls, async { drop(outbox.pool().begin().await) }).await;
            } else {
                let origin = Origin::of("customer");
                cancelled_after(polls, async { drop(outbox.begin(origin).await) }).await;
            }
            if left_open(outbox.pool()).await && openings.last() != Some(&polls) {
                openings.push(polls);
            }
        }
    }
    openings
}

#[tokio::test]
async fn a_cancelled_begin_leaves_no_transaction_open() {
    let scene = Scene::new().await;

    let mut naive = Vec::new();
    // A slow moment of the machine may hide it.
    for _ in 0..40 {
        if naive.is_empty() {
            naive = openings(&scene, true).await;
        }
    }
    let ours = openings(&scene, false).await;

    println!("a plain begin, cancelled after these numbers of polls, leaves one open: {naive:?}");
    assert!(
        !naive.is_empty(),
        "the reason for a begin on a task of its own is gone"
    );
    assert!(ours.is_empty(), "{ours:?}");
}

/// They travel in the headers of a message, which has an upper bound.
#[tokio::test]
async fn words_beside_the_facts_have_a_bound() {
    let scene = Scene::new().await;
    for (bytes, is_kept) in [(4_000, true), (4_001, false)] {
        let origin = Origin::of("customer").because("x".repeat(bytes));
        let mut tx = scene.outbox.begin(origin).await.unwrap();
        let locked = tx.locked(keys(1)[0]);
        tx.append(locked, placed());
        let committed = tx.commit().await;
        assert_eq!(committed.is_ok(), is_kept, "{bytes}: {committed:?}");
    }
}
