//! Emit or abort: a change that must be announced cannot commit without its event.

use std::time::{Duration, Instant};

use outbox::{NewEvent, Origin, UnitOfWork};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::scene::{Scene, keys, placed};

const GUARD: &str = "create constraint trigger orders_announced
    after insert or update on shop.orders deferrable initially deferred
    for each row when (outbox.is_first_change(new.tableoid, 'announced_by', new.announced_by))
    execute function outbox.require_event('order.placed', 'announced_by', 'announced_in')";

async fn guarded() -> Scene {
    let scene = Scene::new().await;
    scene.sql(GUARD).await;
    scene
}

async fn begin(scene: &Scene) -> UnitOfWork {
    scene.outbox.begin(Origin::of("customer")).await.unwrap()
}

async fn insert(tx: &mut UnitOfWork, announced_by: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query("insert into shop.orders (announced_by) values ($1)")
        .bind(announced_by)
        .execute(&mut **tx)
        .await
        .map(drop)
}

fn announce(tx: &mut UnitOfWork, event: NewEvent) {
    let locked = tx.locked(keys(1)[0]);
    tx.append(locked, event);
}

async fn orders(scene: &Scene) -> i64 {
    scene.count("select count(*) from shop.orders").await
}

#[tokio::test]
async fn naive_trust_lets_a_row_commit_without_its_event() {
    let scene = Scene::new().await;

    let mut tx = begin(&scene).await;
    insert(&mut tx, outbox::ids::new()).await.unwrap();
    tx.commit().await.unwrap();

    assert_eq!(orders(&scene).await, 1, "and nobody will ever hear of it");
}

#[tokio::test]
async fn a_row_without_its_event_does_not_commit() {
    let scene = guarded().await;

    let mut tx = begin(&scene).await;
    insert(&mut tx, outbox::ids::new()).await.unwrap();
    let refused = tx.commit().await.unwrap_err().0;

    assert!(
        refused
            .to_string()
            .contains("without its event order.placed"),
        "{refused}"
    );
    assert_eq!(orders(&scene).await, 0);
}

#[tokio::test]
async fn a_row_with_its_event_commits_and_so_does_its_change() {
    let scene = guarded().await;
    let (first, second) = (placed(), placed());

    let mut tx = begin(&scene).await;
    insert(&mut tx, first.event_id).await.unwrap();
    announce(&mut tx, first);
    tx.commit().await.unwrap();
    let mut tx = begin(&scene).await;
    sqlx::query("update shop.orders set announced_by = $1, announced_in = pg_current_xact_id()")
        .bind(second.event_id)
        .execute(&mut *tx)
        .await
        .unwrap();
    announce(&mut tx, second);
    tx.commit().await.unwrap();

    assert_eq!(orders(&scene).await, 1);
}

#[tokio::test]
async fn an_event_of_another_transaction_or_topic_announces_nothing() {
    let scene = guarded().await;
    let earlier = scene.order(keys(1)[0]).await;
    let other = NewEvent::new("order.cancelled", 1, serde_json::json!({}));

    let mut tx = begin(&scene).await;
    insert(&mut tx, earlier).await.unwrap();
    tx.commit().await.unwrap_err();
    let mut tx = begin(&scene).await;
    insert(&mut tx, other.event_id).await.unwrap();
    announce(&mut tx, other);
    tx.commit().await.unwrap_err();

    assert_eq!(orders(&scene).await, 0);
}

#[tokio::test]
async fn two_rows_cannot_share_an_event() {
    let scene = guarded().await;
    let event = placed();

    let mut tx = begin(&scene).await;
    insert(&mut tx, event.event_id).await.unwrap();
    insert(&mut tx, event.event_id).await.unwrap();
    announce(&mut tx, event);
    tx.commit().await.unwrap_err();

    assert_eq!(orders(&scene).await, 0);
}

/// The event written early, by hand, as somebody who wants to pass the check at once must.
async fn insert_both(tx: &mut UnitOfWork) {
    let event = crate::log::append(tx, keys(1)[0]).await;
    insert(tx, event).await.unwrap();
}

#[tokio::test]
async fn checking_early_opens_no_hole_for_a_later_row() {
    let scene = guarded().await;

    let mut tx = begin(&scene).await;
    insert_both(&mut tx).await;
    sqlx::query("set constraints all immediate")
        .execute(&mut *tx)
        .await
        .unwrap();
    insert(&mut tx, outbox::ids::new()).await.unwrap_err();
    tx.commit().await.unwrap_err();
    let mut tx = begin(&scene).await;
    insert_both(&mut tx).await;
    sqlx::query("set constraints all immediate")
        .execute(&mut *tx)
        .await
        .unwrap();
    sqlx::query("set constraints all deferred")
        .execute(&mut *tx)
        .await
        .unwrap();
    insert(&mut tx, outbox::ids::new()).await.unwrap();
    tx.commit().await.unwrap_err();

    assert_eq!(orders(&scene).await, 0);
}

/// Statements that reach the server together, or run in one function, share their
/// `statement_timestamp()`: a check that remembers only the statement overlooks the second row.
#[tokio::test]
async fn checking_early_opens_no_hole_inside_one_statement() {
    let scene = guarded().await;
    let row = "insert into shop.orders (announced_by) values (gen_random_uuid());";
    let together = format!("set constraints all immediate; {row}");
    let function = format!("do $$ begin {together} end $$");
    let later = format!(
        "do $$ begin set constraints all immediate; set constraints all deferred;
        {row} set constraints all immediate; end $$"
    );

    for sql in [together, function, later] {
        let mut tx = begin(&scene).await;
        insert_both(&mut tx).await;
        let inserted = sqlx::raw_sql(AssertSqlSafe(sql.clone()))
            .execute(&mut *tx)
            .await;
        assert!(inserted.is_err() || tx.commit().await.is_err(), "{sql}");
    }

    assert_eq!(orders(&scene).await, 0);
}

/// What a savepoint took back, asks for no event any more, and must not keep others from asking.
#[tokio::test]
async fn a_savepoint_that_is_rolled_back_opens_no_hole() {
    let scene = guarded().await;
    let row = "insert into shop.orders (announced_by) values (gen_random_uuid())";
    let before = format!("savepoint s; {row}; rollback to s; {row}");
    let released = format!("savepoint s; {row}; release s");
    let checked_inside = format!(
        "{row}; savepoint s; delete from shop.orders; set constraints all immediate; rollback to s;
        set constraints all deferred"
    );

    for sql in [before, released, checked_inside] {
        let mut tx = begin(&scene).await;
        sqlx::raw_sql(AssertSqlSafe(sql.clone()))
            .execute(&mut *tx)
            .await
            .unwrap();
        tx.commit().await.expect_err(&sql);
    }
    let mut tx = begin(&scene).await;
    let taken_back = format!("savepoint s; {row}; rollback to s");
    sqlx::raw_sql(AssertSqlSafe(taken_back))
        .execute(&mut *tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();

    assert_eq!(orders(&scene).await, 0);
}

/// The control: a note that outlives the savepoint would let the next row pass.
#[tokio::test]
async fn a_naive_note_outlives_the_savepoint_and_lets_a_row_pass() {
    let scene = guarded().await;
    scene.sql("create sequence shop.changes").await;
    scene
        .sql(
            "create or replace function outbox.is_first_change(
                relation oid, event_column text, event uuid
            )
            returns boolean language sql volatile return nextval('shop.changes') = 1",
        )
        .await;
    let row = "insert into shop.orders (announced_by) values (gen_random_uuid())";

    let mut tx = begin(&scene).await;
    let sql = format!("savepoint s; {row}; rollback to s; {row}");
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(&mut *tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();

    assert_eq!(orders(&scene).await, 1, "and nobody will ever hear of it");
}

#[tokio::test]
async fn a_row_changed_without_a_new_event_is_refused() {
    let scene = guarded().await;
    let event = placed();
    let mut tx = begin(&scene).await;
    insert(&mut tx, event.event_id).await.unwrap();
    announce(&mut tx, event);
    tx.commit().await.unwrap();

    let mut tx = begin(&scene).await;
    sqlx::query("update shop.orders set announced_in = pg_current_xact_id()")
        .execute(&mut *tx)
        .await
        .unwrap();
    tx.commit().await.unwrap_err();
}

/// Many rows of one transaction, and how long its commit took.
async fn commit_of(scene: &Scene, rows: usize) -> Duration {
    let events: Vec<_> = std::iter::repeat_with(placed).take(rows).collect();
    let ids: Vec<_> = events.iter().map(|event| event.event_id).collect();
    let mut tx = begin(scene).await;
    sqlx::query("insert into shop.orders (announced_by) select unnest($1::uuid[])")
        .bind(ids)
        .execute(&mut *tx)
        .await
        .unwrap();
    for event in events {
        announce(&mut tx, event);
    }
    let started = Instant::now();
    tx.commit().await.unwrap();
    started.elapsed()
}

#[tokio::test]
async fn the_check_is_made_once_for_all_rows_of_a_commit() {
    let scene = Scene::new().await;
    commit_of(&scene, 2_000).await;
    let without = commit_of(&scene, 2_000).await;
    scene.sql(GUARD).await;
    commit_of(&scene, 2_000).await;

    let with = commit_of(&scene, 2_000).await;

    println!("2,000 rows commit in {without:.1?}, and checked in {with:.1?}");
    assert_eq!(orders(&scene).await, 8_000);
}
