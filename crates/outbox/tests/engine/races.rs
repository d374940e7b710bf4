//! The two bugs of every queue beside a database, and the outbox that has neither.

use outbox::{ConsumerSpec, Event, Failure, NewEvent, Obsolete, Origin, Transactional, UnitOfWork};
use sqlx::{Connection, PgConnection, PgPool};
use uuid::Uuid;

use crate::host::Host;
use crate::scene::{Scene, placed};

async fn insert_order(conn: &mut PgConnection, order: Uuid, announced_by: Uuid) {
    sqlx::query("insert into shop.orders (order_id, announced_by) values ($1, $2)")
        .bind(order)
        .bind(announced_by)
        .execute(conn)
        .await
        .unwrap();
}

/// What a worker finds when it looks for an order.
async fn is_there(pool: &PgPool, order: Uuid) -> bool {
    sqlx::query_scalar("select exists (select from shop.orders where order_id = $1)")
        .bind(order)
        .fetch_one(pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn naive_enqueue_before_commit_runs_before_the_row_is_there() {
    let scene = Scene::new().await;
    let (enqueue, mut queue) = tokio::sync::mpsc::unbounded_channel();
    let order = outbox::ids::new();
    let mut conn = scene.connection().await;
    let mut tx = conn.begin().await.unwrap();
    insert_order(&mut tx, order, outbox::ids::new()).await;

    enqueue.send(order).unwrap();
    let found = is_there(&scene.pool, queue.recv().await.unwrap()).await;
    tx.commit().await.unwrap();

    assert!(
        !found,
        "the worker was told of an order that it cannot find"
    );
}

#[tokio::test]
async fn naive_enqueue_after_commit_is_lost_in_a_crash_between() {
    let scene = Scene::new().await;
    let (enqueue, mut queue) = tokio::sync::mpsc::unbounded_channel();
    let order = outbox::ids::new();
    let mut conn = scene.connection().await;

    let crashed = tokio::spawn(async move {
        let mut tx = conn.begin().await.unwrap();
        insert_order(&mut tx, order, outbox::ids::new()).await;
        tx.commit().await.unwrap();
        assert!(order.is_nil(), "a crash");
        enqueue.send(order).unwrap();
    })
    .await;

    assert!(crashed.is_err() && is_there(&scene.pool, order).await);
    assert_eq!(
        queue.recv().await,
        None,
        "the order stands, and nobody will pack it"
    );
}

/// Packs an order that it must find.
struct Packer;

impl Transactional for Packer {
    async fn apply(&self, tx: &mut UnitOfWork, events: &[Event]) -> Result<Vec<Obsolete>, Failure> {
        for event in events {
            let packed = sqlx::query(
                "insert into shop.handled (consumer, event_id, key, tick, id)
                 select 'packer', announced_by, order_id, 0, 0 from shop.orders
                 where order_id = $1",
            )
            .bind(event.key)
            .execute(&mut **tx)
            .await?;
            assert_eq!(packed.rows_affected(), 1, "the order is there");
        }
        Ok(Vec::new())
    }
}

async fn place(tx: &mut UnitOfWork, order: Uuid) -> Uuid {
    let event: NewEvent = placed();
    insert_order(tx, order, event.event_id).await;
    let locked = tx.locked(order);
    tx.append(locked, event)
}

#[tokio::test]
async fn an_event_runs_neither_before_its_row_nor_never() {
    let scene = Scene::new().await;
    let _relay = Host::relay(&scene, "relay").await;
    let spec = || ConsumerSpec::new("packer", &["order.placed"]);
    let _packer = Host::worker(&scene, "packer", |w| w.transactional(spec(), Packer)).await;
    let mut expected = Vec::new();

    for n in 0..30 {
        let mut tx = scene.outbox.begin(Origin::of("customer")).await.unwrap();
        let event = place(&mut tx, outbox::ids::new()).await;
        // Every third one crashes: either both are there, or neither.
        if n % 3 == 0 {
            drop(tx);
        } else {
            tx.commit().await.unwrap();
            expected.push(event);
        }
    }

    scene.until_handled("packer", expected.len()).await;
    let mut packed = scene.handled_by("packer").await;
    packed.sort_unstable();
    assert_eq!(packed, expected);
    assert_eq!(scene.count("select count(*) from shop.orders").await, 20);
    assert_eq!(scene.count("select count(*) from outbox.delivery").await, 0);
}
