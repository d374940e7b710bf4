//! Checks beside people at work: what they find is told once, and nobody waits for them.

use std::sync::Arc;

use billing::check::{self, Check, Judged};
use billing::finding::{self, News};
use chrono::TimeDelta;
use serde_json::Value;
use sqlx::postgres::PgTransaction;
use sqlx::{PgPool, Row as _};

use crate::books::{Books, month};
use crate::told::is_like_golden;

fn check_of(code: &str) -> &'static Check {
    check::ALL.iter().find(|check| check.code == code).unwrap()
}

async fn judge(books: &Books, code: &str) -> Result<Judged, sqlx::Error> {
    check::judge(books.pool(), check_of(code), outbox::clock::now()).await
}

async fn note(books: &Books, judged: &Judged) -> News {
    let mut tx = books.begin().await;
    let news = finding::note(&mut tx, judged).await.unwrap();
    tx.commit().await.unwrap();
    news
}

async fn look(books: &Books, code: &str) -> News {
    let judged = judge(books, code).await.unwrap();
    note(books, &judged).await
}

async fn closed() -> Books {
    let books = Books::open().await;
    books.customers(2, month("2024-09")).await;
    books.close(month("2024-09")).await;
    books
}

const WRONG: &str = "update billing.number_series set next_number = next_number + 1";
const RIGHT: &str = "update billing.number_series set next_number = next_number - 1";

#[tokio::test]
async fn a_finding_is_told_once_and_that_it_is_over_too() {
    let books = closed().await;
    assert_eq!(look(&books, "I3").await, News::Holds);

    books.run(WRONG).await;
    assert_eq!(look(&books, "I3").await, News::Found);
    assert_eq!(look(&books, "I3").await, News::Known);
    books.run(RIGHT).await;
    assert_eq!(look(&books, "I3").await, News::Passed);
    assert_eq!(look(&books, "I3").await, News::Holds);

    let told =
        "select topic, key, payload from outbox.event where topic like 'check.%' order by id";
    let told = sqlx::query(told).fetch_all(books.pool()).await.unwrap();
    let topics: Vec<&str> = told.iter().map(|event| event.get("topic")).collect();
    assert_eq!(topics, ["check.violated", "check.passed"]);
    let keys: Vec<uuid::Uuid> = told.iter().map(|event| event.get("key")).collect();
    assert_eq!(keys[0], keys[1], "one key: they are seen in order");
    let found: Value = told[0].get("payload");
    assert_eq!(
        (&found["code"], &found["violations"]),
        (&"I3".into(), &1.into())
    );
    assert_eq!(found["rows"][0]["invoices"], 2, "{found}");
    for event in &told {
        assert!(is_like_golden(event.get("topic"), &event.get("payload")));
    }
}

#[tokio::test]
async fn what_was_seen_earlier_and_is_noted_later_changes_nothing() {
    let books = closed().await;
    let before = judge(&books, "I3").await.unwrap();
    books.run(WRONG).await;
    assert_eq!(look(&books, "I3").await, News::Found);

    assert_eq!(note(&books, &before).await, News::Overtaken);

    let known = finding::standings(books.pool()).await.unwrap();
    assert_eq!((known[0].code.as_str(), known[0].violations), ("I3", 1));
}

#[tokio::test]
async fn a_run_counts_for_what_was_asked_before_it_began() {
    let books = closed().await;
    let asked = outbox::clock::now();
    for check in check::in_scope(check::Scope::Always) {
        look(&books, check.code).await;
    }
    let mut conn = books.pool().acquire().await.unwrap();

    let later = outbox::clock::now() + TimeDelta::seconds(1);
    assert!(finding::is_judged_since(&mut conn, asked).await.unwrap());
    assert!(!finding::is_judged_since(&mut conn, later).await.unwrap());
}

/// A check reads the tables in its order, and stays open where it meets this lock.
async fn in_the_way(pool: &PgPool) -> PgTransaction<'static> {
    let mut tx = pool.begin().await.unwrap();
    sqlx::raw_sql("lock table billing.refund in access exclusive mode")
        .execute(&mut *tx)
        .await
        .unwrap();
    tx
}

async fn write(pool: &PgPool) -> Result<(), sqlx::Error> {
    let mut tx = pool.begin().await?;
    sqlx::raw_sql("set local lock_timeout = '500ms'; update billing.account set email = 'a@b'")
        .execute(&mut *tx)
        .await?;
    tx.commit().await
}

fn code_of(error: &sqlx::Error) -> Option<String> {
    let code = error.as_database_error().and_then(|error| error.code());
    code.map(|code| code.into_owned())
}

#[tokio::test]
async fn a_writer_commits_while_a_check_looks() {
    let books = Arc::new(closed().await);
    let lock = in_the_way(books.pool()).await;
    let looking = tokio::spawn({
        let books = Arc::clone(&books);
        async move { judge(&books, "E2").await }
    });
    books.somebody_waits().await;

    let has_read = "select count(*) from pg_locks where granted and mode = 'AccessShareLock'
        and relation = 'billing.account'::regclass
        and database = (select oid from pg_database where datname = current_database())";
    assert_eq!(books.ask(has_read).await, "1", "it is amid its statement");
    write(books.pool()).await.unwrap();
    lock.rollback().await.unwrap();

    assert!(looking.await.unwrap().unwrap().outcome.holds());
}

#[tokio::test]
async fn a_writer_would_wait_for_a_check_that_locks_what_it_reads() {
    let books = closed().await;
    let mut naive = books.pool().begin().await.unwrap();
    sqlx::raw_sql("lock table billing.account in share mode")
        .execute(&mut *naive)
        .await
        .unwrap();

    let refused = write(books.pool()).await.unwrap_err();

    assert_eq!(code_of(&refused).as_deref(), Some("55P03"), "{refused}");
    naive.rollback().await.unwrap();
}

#[tokio::test]
async fn a_check_waits_for_nobodys_lock_for_long() {
    let books = closed().await;
    let lock = in_the_way(books.pool()).await;

    let refused = judge(&books, "E2").await.unwrap_err();

    assert_eq!(code_of(&refused).as_deref(), Some("55P03"), "{refused}");
    lock.rollback().await.unwrap();
}
