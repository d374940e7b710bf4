//! Promise: trouble with the database is told once, with what to do, and never with a password.

use crate::scene::{Charge, Scene};

/// What the words of the server have to do with its own source.
const SOURCE_LINE: &str = " at line ";

#[tokio::test]
async fn a_database_that_cannot_be_had_is_named_without_its_password() {
    let scene = Scene::bare();
    for (url, told, code) in [
        (
            "postgres://me:hush@127.0.0.1:1/books",
            "cannot connect to database books at 127.0.0.1:1",
            1,
        ),
        (
            "postgres://me:hush@127.0.0.1:port/books",
            "BILLING_DATABASE_URL cannot be read",
            2,
        ),
        (
            "me:hush@127.0.0.1:1/books",
            "postgres://user:password@host:5432/database",
            2,
        ),
    ] {
        for program in [scene.month_close(""), scene.relay("")] {
            let ended = program
                .env("BILLING_DATABASE_URL", url)
                .run()
                .await
                .exits(code);

            assert!(!ended.err.contains("hush"), "{}", ended.err);
            ended.says(&["error: ", told]);
        }
    }
}

#[tokio::test]
async fn a_wrong_password_is_not_told_to_anyone() {
    let scene = Scene::open().await;
    let (before, after) = scene.url().split_once('@').unwrap();
    let user = before.rsplit_once(':').unwrap().0;

    let wrong = format!("{user}:hush@{after}");
    let ended = scene
        .month_close("")
        .env("BILLING_DATABASE_URL", wrong)
        .run()
        .await
        .exits(1);

    assert!(!ended.err.contains("hush"), "{}", ended.err);
    ended.says(&["may this user log in?", "password authentication failed"]);
}

#[tokio::test]
async fn a_full_disk_under_the_database_is_told_once_and_answered_with_advice() {
    let scene = Scene::open().await;
    let usage = scene.usage(
        "usage.csv",
        &[Charge::new((1, "2024-09"), "acme", ("vm", "1"), 2)],
    );
    scene
        .sql(
            "create function billing.no_room() returns trigger language plpgsql as $$
            begin
                raise 'could not extend file' using errcode = 'disk_full';
            end $$;
            create trigger no_room before insert on billing.usage_event
            for each row execute function billing.no_room()",
        )
        .await;

    let stopped = scene.month_close(&format!("--usage {usage}")).run().await;

    let said = stopped.exits(1).says(&[
        "the import stopped; run again to go on",
        "the disk is full: make room on it, then run this again",
    ]);
    assert_eq!(said.err.matches("could not extend file").count(), 1);
    assert!(!said.err.contains(SOURCE_LINE), "{}", said.err);
    scene
        .sql("drop trigger no_room on billing.usage_event")
        .await;
    scene.close(&format!("--usage {usage}")).await;
}

#[tokio::test]
async fn a_database_of_another_version_is_refused_by_the_migration_and_with_advice() {
    for (change, told) in [
        (
            "update billing.migration set checksum = 'x' where version = 1",
            "migration 1 of the schema `billing` is not the same as here",
        ),
        (
            "insert into outbox.migration (version, description, success, checksum, execution_time)
            values (9999, 'of tomorrow', true, 'x', 0)",
            "migration 9999 of the schema `outbox` is unknown here",
        ),
    ] {
        let scene = Scene::open().await;
        scene.month_close("check").run().await.exits(0);

        scene.sql(change).await;

        for program in [scene.month_close("check"), scene.relay("dead list")] {
            program.run().await.exits(1).says(&[
                "was made by another version of this program",
                told,
                "Run the version that migrated it last",
            ]);
        }
    }
}
