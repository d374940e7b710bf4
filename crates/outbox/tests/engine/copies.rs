//! Rows by COPY: what they say arrives as it is, and what guards other rows guards them too.

use chrono::{DateTime, NaiveDate, Utc};
use outbox::copy::{Rows, Target};
use outbox::{Origin, Outbox, UnitOfWork};
use serde_json::json;
use sqlx::types::Decimal;
use sqlx::{Connection, PgPool, Row};
use uuid::Uuid;

use crate::scene::{Scene, keys, placed, run, until};

const THINGS: Target = Target {
    table: "shop.thing",
    columns: &[
        "n", "small", "big", "is_so", "id", "name", "price", "day", "at", "hash", "facts",
    ],
};
const ORDERS: Target = Target {
    table: "shop.orders",
    columns: &["order_id", "announced_by"],
};

async fn begin(outbox: &Outbox) -> UnitOfWork {
    outbox.begin(Origin::of("import")).await.unwrap()
}

async fn things() -> Scene {
    let scene = Scene::new().await;
    scene
        .sql(
            "create table shop.thing (
                n int primary key, small smallint, big bigint, is_so bool, id uuid, name text,
                price numeric, day date, at timestamptz, hash bytea, facts json, made text
                default 'by default'
            )",
        )
        .await;
    scene
}

/// A row with something in each column, and one with nothing but its key.
fn filled(n: i32, (name, price, at): (&str, &str, &str)) -> Rows {
    let mut rows = Rows::new(THINGS);
    let at: DateTime<Utc> = at.parse().unwrap();
    rows.row()
        .put(n)
        .put(i16::MIN)
        .put(i64::MAX)
        .put(true)
        .put(Uuid::from_u128(7))
        .put(name)
        .put(price.parse::<Decimal>().unwrap())
        .put(at.date_naive())
        .put(at)
        .put(&b"\0\xff\n\\"[..])
        .put_json(&json!({ "name": name, "n": [n, null] }));
    rows.row()
        .put(-n)
        .put(None::<i16>)
        .put(None::<i64>)
        .put(None::<bool>)
        .put(None::<Uuid>)
        .put(None::<&str>)
        .put(None::<Decimal>)
        .put(None::<NaiveDate>)
        .put(None::<DateTime<Utc>>)
        .put(None::<&[u8]>)
        .put(None::<serde_json::Value>);
    rows
}

#[tokio::test]
async fn each_type_of_value_arrives_as_it_is_and_nothing_as_null() {
    let scene = things().await;
    let mut n = 0;
    for (name, price, at) in [
        ("", "0", "2000-01-01T00:00:00Z"),
        (
            "Žižka's \\N\t\n",
            "-0.000000000001",
            "1969-12-31T23:59:59.999999Z",
        ),
        (
            "\\.",
            "79228162514264337593543950335",
            "2200-12-31T00:00:00.000001Z",
        ),
        ("a", "1234567890123456.123456789012", "2024-02-29T12:00:00Z"),
    ] {
        n += 1;
        let mut tx = begin(&scene.outbox).await;
        assert_eq!(tx.copy(filled(n, (name, price, at))).await.unwrap(), 2);
        tx.commit().await.unwrap();

        let row = sqlx::query("select * from shop.thing where n = $1").bind(n);
        let row = row.fetch_one(&scene.pool).await.unwrap();
        let at: DateTime<Utc> = at.parse().unwrap();
        assert_eq!(row.get::<i16, _>("small"), i16::MIN);
        assert_eq!(row.get::<i64, _>("big"), i64::MAX);
        assert!(row.get::<bool, _>("is_so"));
        assert_eq!(row.get::<Uuid, _>("id"), Uuid::from_u128(7));
        assert_eq!(row.get::<&str, _>("name"), name);
        assert_eq!(row.get::<Decimal, _>("price"), price.parse().unwrap());
        assert_eq!(row.get::<NaiveDate, _>("day"), at.date_naive());
        assert_eq!(row.get::<DateTime<Utc>, _>("at"), at);
        assert_eq!(row.get::<&[u8], _>("hash"), b"\0\xff\n\\");
        let facts = json!({ "name": name, "n": [n, null] });
        assert_eq!(row.get::<serde_json::Value, _>("facts"), facts);
        assert_eq!(row.get::<&str, _>("made"), "by default");
    }

    let nothing = "select count(*) from shop.thing where n < 0
        and num_nonnulls(small, big, is_so, id, name, price, day, at, hash, facts) = 0";
    assert_eq!(scene.count(nothing).await, 4);
}

#[tokio::test]
async fn without_rows_nothing_is_sent() {
    let scene = things().await;
    let mut tx = begin(&scene.outbox).await;
    let nowhere = Target {
        table: "shop.nowhere",
        columns: &["n"],
    };

    assert!(Rows::new(nowhere).is_empty());
    assert_eq!(tx.copy(Rows::new(nowhere)).await.unwrap(), 0);

    tx.commit().await.unwrap();
}

#[test]
#[should_panic(expected = "a row of shop.orders lacks values")]
fn a_row_without_all_its_values_is_a_bug() {
    let mut rows = Rows::new(ORDERS);
    rows.row().put(Uuid::nil());
    rows.row();
}

#[tokio::test]
#[should_panic(expected = "a row of shop.orders lacks values, or has too many")]
async fn so_is_one_with_too_many() {
    let scene = Scene::new().await;
    let mut rows = Rows::new(ORDERS);
    rows.row()
        .put(Uuid::nil())
        .put(Uuid::nil())
        .put(Uuid::nil());

    begin(&scene.outbox).await.copy(rows).await.unwrap();
}

#[tokio::test]
async fn an_error_of_the_server_is_told_and_ends_the_transaction() {
    let scene = things().await;
    for (broken, code) in [("Žižka\0", "22021"), ("twice", "23505")] {
        let mut tx = begin(&scene.outbox).await;
        tx.copy(filled(1, ("first", "1", "2024-01-01T00:00:00Z")))
            .await
            .unwrap();
        let n = if broken == "twice" { 1 } else { 2 };
        let refused = tx
            .copy(filled(n, (broken, "1", "2024-01-01T00:00:00Z")))
            .await;
        let refused = refused.unwrap_err();

        assert_eq!(refused.as_database_error().unwrap().code().unwrap(), code);
        let dead = sqlx::query("select 1").execute(&mut *tx).await.unwrap_err();
        assert_eq!(dead.as_database_error().unwrap().code().unwrap(), "25P02");
        tx.commit().await.unwrap_err();
    }

    assert_eq!(scene.count("select count(*) from shop.thing").await, 0);
    let mut tx = begin(&scene.outbox).await;
    tx.copy(filled(1, ("first", "1", "2024-01-01T00:00:00Z")))
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

fn orders(events: &[Uuid]) -> Rows {
    let mut rows = Rows::new(ORDERS);
    for event in events {
        rows.row().put(outbox::ids::new()).put(*event);
    }
    rows
}

#[tokio::test]
async fn an_announced_row_still_needs_its_event() {
    let scene = Scene::new().await;
    scene
        .sql(
            "create constraint trigger announced after insert on shop.orders
            deferrable initially deferred for each row
            when (outbox.is_first_change(new.tableoid, 'announced_by', new.announced_by))
            execute function outbox.require_event('order.placed', 'announced_by', 'announced_in')",
        )
        .await;

    let mut silent = begin(&scene.outbox).await;
    silent.copy(orders(&keys(3))).await.unwrap();
    silent.commit().await.unwrap_err();
    let mut told = begin(&scene.outbox).await;
    let events = keys(3).into_iter().map(|key| {
        let locked = told.locked(key);
        told.append(locked, placed())
    });
    let events: Vec<Uuid> = events.collect();
    told.copy(orders(&events)).await.unwrap();
    told.commit().await.unwrap();

    assert_eq!(scene.count("select count(*) from shop.orders").await, 3);
}

/// Each copy into the table waits until the lock that `held` is of is free.
async fn held_up(scene: &Scene) -> sqlx::PgConnection {
    let hold_up = "create function shop.hold_up() returns trigger language plpgsql as $$ begin
            perform pg_advisory_xact_lock(4711);
            return null;
        end $$;
        create trigger held_up before insert on shop.orders
            for each statement execute function shop.hold_up()";
    sqlx::raw_sql(hold_up).execute(&scene.pool).await.unwrap();
    let mut held = scene.connection().await;
    run(&mut held, "select pg_advisory_lock(4711)").await;
    held
}

async fn somebody_waits(scene: &Scene) {
    let waiting = "select count(*) from shop.session where wait_event_type = 'Lock'";
    until("a copy waits", async || scene.count(waiting).await > 0).await;
}

async fn answers(pool: &PgPool) -> Result<[i32; 2], sqlx::Error> {
    let mut tx = pool.begin().await?;
    let one = sqlx::query_scalar("select 1").fetch_one(&mut *tx).await?;
    let two = sqlx::query_scalar("select 2").fetch_one(&mut *tx).await?;
    tx.commit().await?;
    Ok([one, two])
}

#[tokio::test]
async fn a_copy_that_is_dropped_half_way_leaves_the_pool_in_order() {
    let scene = Scene::new().await;
    let held = held_up(&scene).await;
    let outbox = scene.as_seen_by("importer", 1).await;

    let mut tx = begin(&outbox).await;
    tokio::select! {
        _ = tx.copy(orders(&keys(3))) => panic!("nothing held it up"),
        () = somebody_waits(&scene) => {}
    }
    drop(tx);
    held.close().await.unwrap();

    assert_eq!(answers(outbox.pool()).await.unwrap(), [1, 2]);
    assert_eq!(scene.count("select count(*) from shop.orders").await, 0);
}

/// The control: sqlx's own copy, dropped at the same place.
#[tokio::test]
async fn naive_copy_that_is_dropped_half_way_leaves_its_connection_an_answer_behind() {
    let scene = Scene::new().await;
    let held = held_up(&scene).await;
    let outbox = scene.as_seen_by("importer", 1).await;

    let mut tx = outbox.pool().begin().await.unwrap();
    tokio::select! {
        _ = orders(&keys(3)).send(&mut tx) => panic!("nothing held it up"),
        () = somebody_waits(&scene) => {}
    }
    drop(tx);
    held.close().await.unwrap();

    let begun = answers(outbox.pool()).await;
    assert!(matches!(begun, Err(sqlx::Error::BeginFailed)), "{begun:?}");
}
