//! What the kit promises to the tests that use it.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use sqlx::{AssertSqlSafe, PgPool};
use testkit::{Template, TestDb, until};

const PATIENCE: Duration = Duration::from_secs(30);

/// A template that no earlier run has made.
fn template(set: &'static str) -> Template {
    Template::new(set, std::process::id().into())
}

async fn no_migrations(_: PgPool) -> Result<()> {
    Ok(())
}

async fn plain() -> TestDb {
    let template = Template::new("plain", 0);
    TestDb::from_template(template, no_migrations)
        .await
        .unwrap()
}

async fn run(db: &TestDb, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(&db.pool)
        .await
        .unwrap();
}

async fn exists(db: &TestDb, database: &str) -> bool {
    sqlx::query_scalar("select exists (select from pg_database where datname like $1)")
        .bind(database)
        .fetch_one(&db.pool)
        .await
        .unwrap()
}

/// At once, unless another test logs in just now.
async fn until_gone(witness: &TestDb, database: &str) {
    let gone = until("the database to go", PATIENCE, async || {
        (!exists(witness, database).await).then_some(())
    });
    gone.await.unwrap();
}

fn name_of(db: &TestDb) -> String {
    db.url().rsplit_once('/').unwrap().1.to_owned()
}

#[tokio::test]
async fn each_test_has_a_database_of_its_own() {
    let (ours, theirs) = tokio::join!(plain(), plain());

    run(&ours, "create table invoice (id int)").await;
    run(&theirs, "create table invoice (id int)").await;

    assert_ne!(ours.url(), theirs.url());
}

#[tokio::test]
async fn the_database_goes_with_its_test_even_while_it_is_in_use() {
    let witness = plain().await;
    let db = plain().await;
    let name = name_of(&db);
    let _in_use = db.pool.acquire().await.unwrap();

    assert!(exists(&witness, &name).await);
    drop(db);

    until_gone(&witness, &name).await;
}

#[tokio::test]
async fn the_database_goes_when_its_test_panics() {
    let witness = plain().await;
    let (tell, told) = std::sync::mpsc::channel();

    let test = tokio::spawn(async move {
        let db = plain().await;
        tell.send(name_of(&db)).unwrap();
        panic!("as failing tests do");
    });

    assert!(test.await.unwrap_err().is_panic());
    until_gone(&witness, &told.recv().unwrap()).await;
}

#[tokio::test]
async fn a_client_that_never_finishes_to_log_in_does_not_hold_up_the_end_of_a_test() {
    let witness = plain().await;
    let db = plain().await;
    let name = name_of(&db);
    let client = half_logged_in(&db, &name);

    let ended = Instant::now();
    drop(db);
    let waited = ended.elapsed();

    // The control: it is the client that the database waits for.
    let still_there = exists(&witness, &name).await;
    drop(client);
    until_gone(&witness, &name).await;
    assert!(still_there);
    assert!(waited < Duration::from_secs(5), "{waited:?}");
}

/// Asks for a log-in and does not answer when it is asked for the password.
fn half_logged_in(db: &TestDb, database: &str) -> UnixStream {
    let options = db.pool.connect_options();
    let socket = options.get_socket().unwrap().join(".s.PGSQL.5432");
    let mut client = UnixStream::connect(socket).unwrap();
    let words = format!("user\0billing\0database\0{database}\0\0");
    let length = u32::try_from(words.len() + 8).unwrap().to_be_bytes();
    let version = 0x0003_0000_u32.to_be_bytes();
    let hello = [&length[..], &version, words.as_bytes()].concat();
    client.write_all(&hello).unwrap();
    client.read_exact(&mut [0]).unwrap();
    client
}

#[tokio::test]
async fn leftovers_of_killed_tests_go_and_living_tests_keep_theirs() {
    let living = plain().await;
    let leftover = format!("test_0_{}", std::process::id());
    run(&living, &format!("create database {leftover}")).await;

    // Others may be sweeping at this moment, and one of them is enough.
    let swept = until("the leftover to go", PATIENCE, async || {
        drop(plain().await);
        (!exists(&living, &leftover).await).then_some(())
    });

    swept.await.unwrap();
    assert!(exists(&living, &name_of(&living)).await);
}

#[tokio::test]
async fn a_template_is_made_once_for_all_tests() {
    let made = Arc::new(AtomicU32::new(0));
    let start = || {
        let made = Arc::clone(&made);
        TestDb::from_template(template("once"), async move |pool| {
            made.fetch_add(1, Ordering::SeqCst);
            sqlx::raw_sql("create table invoice (id int)")
                .execute(&pool)
                .await?;
            Ok(())
        })
    };

    let (first, second, third) = tokio::join!(start(), start(), start());

    for db in [first, second, third] {
        run(&db.unwrap(), "insert into invoice values (1)").await;
    }
    assert_eq!(made.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn changed_migrations_get_a_new_template_in_place_of_the_old() {
    let old = Template::new("changed", 0x0a);
    let new = Template::new("changed", 0x0b);

    for template in [old, new] {
        let db = TestDb::from_template(template, no_migrations)
            .await
            .unwrap();
        drop(db);
    }

    let witness = plain().await;
    assert!(!exists(&witness, "template_changed_%a").await);
    assert!(exists(&witness, "template_changed_%b").await);
}

#[tokio::test]
async fn migrations_that_fail_leave_no_template() {
    let failing = TestDb::from_template(template("failing"), async |_| bail!("no such column"));
    let refusal = format!("{:#}", failing.await.unwrap_err());

    let second = TestDb::from_template(template("failing"), async |pool| {
        sqlx::raw_sql("create table invoice (id int)")
            .execute(&pool)
            .await?;
        Ok(())
    });

    run(&second.await.unwrap(), "insert into invoice values (1)").await;
    assert_eq!(
        refusal,
        "could not migrate the template `failing`: no such column"
    );
}

#[tokio::test]
async fn the_engine_comes_alone_or_with_the_product() {
    let (engine, product) = tokio::join!(TestDb::engine(), TestDb::billing());
    let schemas = "select count(*) from pg_namespace where nspname in ('outbox', 'billing')";

    for (db, expected) in [(engine.unwrap(), 1), (product.unwrap(), 2)] {
        let found: i64 = sqlx::query_scalar(schemas)
            .fetch_one(&db.pool)
            .await
            .unwrap();
        assert_eq!(found, expected);
    }
}

#[tokio::test]
async fn tests_are_as_durable_as_production() {
    let db = plain().await;

    let fsync: String = sqlx::query_scalar("select current_setting('fsync')")
        .fetch_one(&db.pool)
        .await
        .unwrap();

    assert_eq!(fsync, "on");
}

#[tokio::test]
async fn a_wait_ends_as_soon_as_there_is_something() {
    let mut looks = 0;

    let found = until("the third look", PATIENCE, async || {
        looks += 1;
        (looks == 3).then_some("found")
    });

    assert_eq!(found.await.unwrap(), "found");
}

#[tokio::test]
async fn a_wait_in_vain_says_for_what() {
    let wait = until::<()>("the paid invoice", Duration::from_millis(30), async || None);

    let refusal = wait.await.unwrap_err().to_string();

    assert_eq!(refusal, "waited 30ms in vain for the paid invoice");
}
