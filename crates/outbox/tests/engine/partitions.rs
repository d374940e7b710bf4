//! Partitions: the log never runs into its end, and nobody waits while it is made longer.

use outbox::{Origin, Prepared};

use crate::host::Host;
use crate::scene::{Scene, impatient, keys, run, until};
use crate::shop::Notebook;

const MADE: &str = "select count(*) from pg_inherits where inhparent = 'outbox.event'::regclass";

async fn draw_up_to(scene: &Scene, id: i64) {
    sqlx::query("select setval('outbox.event_id', $1)")
        .bind(id)
        .execute(&scene.pool)
        .await
        .unwrap();
}

async fn notebook(scene: &Scene) -> Host {
    let notebook = Notebook::of("notebook");
    Host::worker(scene, "worker", |w| {
        w.transactional(impatient("notebook", 1), notebook);
    })
    .await
}

#[tokio::test]
async fn partitions_are_made_before_the_log_needs_them() {
    let scene = Scene::new().await;
    let prepared = scene.relay().prepare_partitions().await.unwrap();
    assert_eq!(
        prepared,
        Prepared {
            made: 2,
            indexed: 0
        }
    );
    let again = scene.relay().prepare_partitions().await.unwrap();
    assert_eq!(again, Prepared::default());

    draw_up_to(&scene, 9_999_990).await;
    let events = scene.orders(&keys(20), Origin::of("customer")).await;
    scene.publish().await;
    let _worker = notebook(&scene).await;
    scene.until_handled("notebook", 20).await;
    assert_eq!(scene.handled_by("notebook").await, events);
    assert_eq!(scene.count("select count(*) from outbox.event_1").await, 11);
    assert_eq!(
        scene
            .count("select count(*) from outbox.event_default")
            .await,
        0
    );
    let prepared = scene.relay().prepare_partitions().await.unwrap();
    assert_eq!(prepared.made, 1);
}

#[tokio::test]
async fn a_partition_is_like_the_first_one() {
    let scene = Scene::new().await;
    scene.relay().prepare_partitions().await.unwrap();
    let differing = "select count(*) from (
            select indexdef from (
                select tablename, regexp_replace(indexdef, '^.* USING ', '') as indexdef
                from pg_indexes where schemaname = 'outbox'
            ) as of where tablename in ('event_0', 'event_1')
            group by indexdef having count(*) <> 2
            union all
            select attname || ' ' || coalesce(attoptions::text, '') || attnotnull
                || coalesce(pg_get_expr(adbin, adrelid), '')
            from pg_attribute left join pg_attrdef on adrelid = attrelid and adnum = attnum
            where attrelid in ('outbox.event_0'::regclass, 'outbox.event_1'::regclass)
                and attnum > 0
            group by 1 having count(*) <> 2
            union all
            select pg_get_constraintdef(oid) from pg_constraint
            where conrelid in ('outbox.event_0'::regclass, 'outbox.event_1'::regclass)
            group by 1 having count(*) <> 2
        ) as differing";
    assert_eq!(scene.count(differing).await, 0);
}

#[tokio::test]
async fn what_fell_into_the_net_stays_there_and_the_log_goes_on_beyond() {
    let scene = Scene::new().await;
    draw_up_to(&scene, 25_000_000).await;
    let mut events = scene.orders(&keys(5), Origin::of("customer")).await;
    scene.publish().await;
    let prepared = scene.relay().prepare_partitions().await.unwrap();
    assert_eq!(prepared.made, 1, "from 40 million on");
    events.extend(scene.orders(&keys(5), Origin::of("customer")).await);
    draw_up_to(&scene, 40_000_000).await;
    events.extend(scene.orders(&keys(5), Origin::of("customer")).await);
    scene.publish().await;

    assert_eq!(
        scene
            .count("select count(*) from outbox.event_default")
            .await,
        10
    );
    assert_eq!(scene.count("select count(*) from outbox.event_4").await, 5);
    let _worker = notebook(&scene).await;
    scene.until_handled("notebook", 15).await;
    assert_eq!(scene.handled_by("notebook").await, events);
}

#[tokio::test]
async fn nobody_waits_while_a_partition_cannot_be_attached() {
    let scene = Scene::new().await;
    let mut reader = scene.connection().await;
    run(&mut reader, "begin; select count(*) from outbox.event").await;

    let refused = scene.relay().prepare_partitions().await.unwrap_err();
    let code = refused.as_database_error().unwrap().code();
    assert_eq!(code.as_deref(), Some("55P03"), "{refused}");
    scene.order(keys(1)[0]).await;

    run(&mut reader, "commit").await;
    until("the reader has gone", async || {
        scene.relay().prepare_partitions().await.is_ok()
    })
    .await;
    assert_eq!(scene.count(MADE).await, 4);
}

/// As the manual shows it: appenders queue behind who waits for the reader.
#[tokio::test]
async fn naive_partition_of_stops_every_appender_behind_one_reader() {
    let scene = Scene::new().await;
    let mut reader = scene.connection().await;
    run(&mut reader, "begin; select count(*) from outbox.event").await;
    let mut maker = scene.connection().await;
    let made = tokio::spawn(async move {
        run(
            &mut maker,
            "create table outbox.event_1 partition of outbox.event
            for values from (10000000) to (20000000)",
        )
        .await;
    });
    scene
        .until_count(
            "select count(*) from shop.session
            where query like 'create table outbox.event_1%' and wait_event_type = 'Lock'",
            1,
        )
        .await;

    let mut appender = scene.connection().await;
    let appended = sqlx::raw_sql(
        "set statement_timeout = '300ms';
        insert into outbox.event (event_id, topic, schema_version, key, part, lane, payload, actor)
        values (gen_random_uuid(), 'order.placed', 1, gen_random_uuid(), 0, 0, '{}', 'customer')",
    )
    .execute(&mut appender)
    .await;
    let code = appended.unwrap_err();
    let code = code.as_database_error().unwrap().code();
    assert_eq!(code.as_deref(), Some("57014"), "cancelled while it waited");
    run(&mut reader, "commit").await;
    made.await.unwrap();
}

#[tokio::test]
async fn closed_partitions_are_indexed_for_history() {
    let scene = Scene::new().await;
    scene.relay().prepare_partitions().await.unwrap();
    scene.orders(&keys(3), Origin::of("customer")).await;
    draw_up_to(&scene, 10_000_100).await;
    let relay = scene.relay();
    // Transactions of other tests hold back the floor for a while.
    until("the first partition is closed and indexed", async || {
        scene.orders(&keys(3), Origin::of("customer")).await;
        relay.cut().await.unwrap();
        relay.prepare_partitions().await.unwrap().indexed == 1
    })
    .await;
    let indexed = "select count(*) from pg_indexes where indexname = 'event_0_by_key'";
    assert_eq!(scene.count(indexed).await, 1);
    assert_eq!(
        relay.prepare_partitions().await.unwrap(),
        Prepared::default()
    );
}

#[tokio::test]
async fn relays_that_race_make_each_partition_once() {
    let scene = Scene::new().await;
    let (one, two) = (scene.relay(), scene.relay());
    until("both are content", async || {
        let (one, two) = tokio::join!(one.prepare_partitions(), two.prepare_partitions());
        one.is_ok_and(|p| p == Prepared::default()) && two.is_ok_and(|p| p == Prepared::default())
    })
    .await;
    assert_eq!(scene.count(MADE).await, 4);
}
