//! Promise: what an operator orders is done, kept with who and why, and refused where it would do
//! harm.

use serde_json::Value;
use testkit::{Server, TestDb};

use crate::scene::{CONSUMERS, Charge, Ended, Scene, THE_END};
use crate::workers::with_a_dead_letter;

const ACCOUNTS: i64 = 20;

/// A closed month that no worker has seen yet.
async fn closed() -> Scene {
    let scene = Scene::open().await;
    let charge = |n| Charge::new((n, "2024-09"), n, ("vm", "0.25"), n + 1);
    let usage = scene.usage("usage.csv", &(0..ACCOUNTS).map(charge).collect::<Vec<_>>());
    scene.close(&format!("--usage {usage} --no-workers")).await;
    scene
}

async fn asked(scene: &Scene, command: &str) -> Ended {
    scene.relay(command).run().await
}

/// An order of Ann's, with her reason.
async fn ordered(scene: &Scene, command: &str) -> Ended {
    let by = ["--reason", "the disk moves", "--by", "ann"];
    scene.relay(command).with(by).run().await
}

async fn noted(scene: &Scene, verb: &str) -> i64 {
    let noted = format!(
        "select count(*) from outbox.operation
        where verb = '{verb}' and actor = 'ann' and reason = 'the disk moves'"
    );
    scene.count(&noted).await
}

#[tokio::test]
async fn a_paused_consumer_begins_nothing_until_it_is_resumed() {
    let scene = closed().await;
    let paused = ordered(&scene, "pause documents").await.exits(0).out;
    assert!(paused.contains("documents is paused"), "{paused}");
    let running = scene.relay("").start();
    scene
        .until_at_least((CONSUMERS - 1) * ACCOUNTS, Scene::HANDLED)
        .await;

    let page = asked(&scene, "consumers").await.exits(0).out;
    let line = page.lines().find(|line| line.starts_with("documents:"));
    let line = line.unwrap();
    for told in ["runs in 1 process", "8 shards", "may be replayed", "paused"] {
        assert!(line.contains(told), "{line}");
    }
    assert!(page.contains("    reads invoice.finalized"), "{page}");
    let json = asked(&scene, "consumers --json").await.exits(0).out;
    let consumers: Vec<Value> = serde_json::from_str(&json).unwrap();
    assert!(consumers.iter().any(|of| of["name"] == "documents"));
    assert!(scene.documents().is_empty(), "it was paused");

    let resumed = ordered(&scene, "resume documents").await.exits(0).out;
    assert_eq!(resumed, "documents goes on\n");
    scene
        .until_at_least(CONSUMERS * ACCOUNTS + THE_END, Scene::HANDLED)
        .await;
    assert_eq!(scene.documents().len(), 20);
    let again = ordered(&scene, "resume documents").await.exits(0).out;
    assert_eq!(again, "documents was not paused\n");
    assert_eq!(noted(&scene, "pause").await, 1);
    running.stop().await.exits(0);
}

/// Nobody knows when it goes on, and who waits for the end of a close should know why.
#[tokio::test]
async fn a_close_says_which_consumer_it_waits_for() {
    let scene = closed().await;
    ordered(&scene, "pause documents").await.exits(0);
    let closing = scene.month_close("").start();
    let told = "documents is paused: `outbox-relay resume documents`";
    closing.has_said(told).await;
    ordered(&scene, "resume documents").await.exits(0);
    closing.ended().await.exits(0);
    assert_eq!(scene.documents().len(), 20);
}

#[tokio::test]
async fn an_unknown_consumer_is_answered_with_the_known_ones() {
    let scene = closed().await;
    for order in [
        "pause mails",
        "resume mails",
        "replay mails --from 1",
        "dead redrive --consumer mails",
        "dead discard --consumer mails",
    ] {
        let refused = ordered(&scene, order).await.exits(2);
        refused.says(&["there is no consumer \"mails\"", "documents"]);
    }
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_and_says_how_it_is_meant() {
    let scene = closed().await;
    let none = "00000000-0000-0000-0000-000000000000";
    let blank = scene.relay("pause documents").with(["--reason", " "]);
    blank
        .run()
        .await
        .exits(2)
        .says(&["who orders this and why"]);
    let unmet = format!("dead redrive --event {none}");
    let unmet = ordered(&scene, &unmet).await.exits(1);
    unmet.says(&["none of the events named is a dead letter"]);
    for (order, told) in [
        ("pause documents --for 0s", "a second or longer"),
        (
            "replay documents --since 3000-01-01",
            "it is not 3000-01-01",
        ),
        ("replay documents", "--from <TICK[/ID]>"),
        ("replay documents --from 12/-3", "such as 12"),
    ] {
        ordered(&scene, order).await.exits(2).says(&[told]);
    }
    assert_eq!(
        scene.count("select count(*) from outbox.operation").await,
        0
    );
}

/// A new database would answer that all is well.
#[tokio::test]
async fn who_only_asks_makes_no_database() {
    let scene = Scene::bare();
    for question in [
        "status",
        "consumers",
        "dead list",
        "tail",
        "retention --keep 400 --drop",
    ] {
        let refused = asked(&scene, question).await.exits(2);
        refused.says(&["there is no database in", "--data-dir"]);
    }
    assert!(!scene.data_dir().exists());

    let empty = TestDb::empty().await.unwrap();
    for question in ["status", "dead list", "tail"] {
        let asked = scene
            .relay(question)
            .env("BILLING_DATABASE_URL", empty.url());
        asked.run().await.exits(2).says(&["holds no log yet"]);
    }
}

/// Postgres takes for JSON what Rust does not read, such as half of a surrogate pair.
#[tokio::test]
async fn what_no_program_can_read_is_shown_as_it_is() {
    let scene = closed().await;
    scene
        .sql(
            r#"insert into outbox.event (
                event_id, topic, schema_version, key, part, lane, payload, actor
            )
            select gen_random_uuid(), 'invoice.finalized', 1, gen_random_uuid(), 0, 0,
                '{"a":"\ud800"}', 'a test'"#,
        )
        .await;
    let running = scene.relay("").start();
    let retried = "select count(*) from outbox.delivery where state = 'retry'";
    scene.until_at_least(1, retried).await;

    let tail = scene.relay("tail --from 1 --json").start();
    tail.has_printed(1).await;
    let told = asked(&scene, "retrying").await.exits(0).out;
    for word in ["invoice.finalized for documents", "attempts: ", "is due at"] {
        assert!(told.contains(word), "no {word:?} in:\n{told}");
    }
    scene
        .sql("update outbox.delivery set state = 'dead', dead_reason = 'a test', next_at = null")
        .await;
    let event = "select event_id::text from outbox.delivery limit 1";
    let event = &scene.texts(event).await[0];
    let shown = asked(&scene, &format!("dead show {event}")).await.exits(0);
    assert!(shown.out.contains(r"\ud800"), "{}", shown.out);
    tail.stop().await.exits(0);
    running.stop().await.exits(0);
}

#[tokio::test]
async fn who_reads_no_further_is_no_failure() {
    let scene = closed().await;
    for question in ["status", "status --json", "consumers", "dead list"] {
        let asked = scene.relay(question).unread();
        asked.run().await.exits(0);
    }
}

#[tokio::test]
async fn a_dead_letter_is_shown_whole_and_given_up_for_a_reason() {
    let scene = with_a_dead_letter().await;
    let event = &scene
        .texts("select event_id::text from outbox.delivery")
        .await[0];
    let shown = asked(&scene, &format!("dead show {event}"))
        .await
        .exits(0)
        .out;
    for told in [
        event,
        "invoice.finalized v1",
        "\"external_id\": \"7\"",
        "documents: in trouble since",
        "attempts: 20",
        "the printer is on fire",
    ] {
        assert!(shown.contains(told), "no {told:?} in:\n{shown}");
    }
    let none = "00000000-0000-0000-0000-000000000000";
    let unknown = asked(&scene, &format!("dead show {none}")).await.exits(1);
    unknown.says(&["no consumer has a dead letter"]);

    let dry = asked(&scene, "dead discard --dry-run").await.exits(0).out;
    assert!(dry.contains("1 letter to be discarded"), "{dry}");
    assert_eq!(scene.count("select count(*) from outbox.delivery").await, 1);
    let discard = format!("dead discard --event {event}");
    let discarded = ordered(&scene, &discard).await.exits(0).out;

    assert_eq!(discarded, "1 letter discarded\n");
    assert_eq!(noted(&scene, "discard").await, 1);
    assert_eq!(scene.count("select count(*) from outbox.delivery").await, 0);
    assert_eq!(scene.close("").await["events"]["dead"], 0);
}

#[tokio::test]
async fn a_consumer_is_resharded_and_handles_each_event_once() {
    let scene = closed().await;
    let dry = asked(&scene, "reshard documents --shards 12 --dry-run").await;
    let dry = dry.exits(0).out;
    let told = "documents would be read in 12 shards instead of 8";
    assert!(dry.starts_with(told), "{dry}");
    assert_eq!(noted(&scene, "reshard").await, 0);

    let order = "reshard documents --shards 12";
    let done = ordered(&scene, order).await.exits(0).out;
    assert!(done.starts_with("documents is read in 12 shards"), "{done}");
    ordered(&scene, order)
        .await
        .exits(2)
        .says(&["12 shards already"]);

    assert_eq!(noted(&scene, "reshard").await, 1);
    let running = scene.relay("").start();
    scene
        .until_at_least(CONSUMERS * ACCOUNTS + THE_END, Scene::HANDLED)
        .await;
    assert_eq!(scene.documents().len(), 20);
    running.stop().await.exits(0);
    assert_eq!(scene.close("").await["checks"]["violated"], 0);
}

#[tokio::test]
async fn the_log_of_one_key_is_followed() {
    let scene = closed().await;
    let relay = scene.relay("--role relay").start();
    let whole = "select count(*) from outbox.tick
        where max_id = (select max(id) from outbox.event)";
    scene.until_at_least(1, whole).await;
    relay.stop().await.exits(0);
    let key = "select account_id::text from billing.invoice order by number limit 1";
    let key = &scene.texts(key).await[0];
    let of_key = format!("select count(*) from outbox.event where key = '{key}'");
    let expected = usize::try_from(scene.count(&of_key).await).unwrap();
    assert!(expected > 0);

    let tail = scene
        .relay(&format!("tail --from 1 --json --key {key}"))
        .start();
    tail.has_printed(expected).await;
    let lines = tail.stop().await.exits(0).out;

    assert_eq!(lines.lines().count(), expected);
    for line in lines.lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        assert_eq!(event["key"], key.as_str());
    }
}

#[tokio::test]
async fn retention_takes_nothing_that_is_young() {
    let scene = closed().await;
    let events = scene.count("select count(*) from outbox.event").await;
    let kept = asked(&scene, "retention --keep 400 --drop")
        .await
        .exits(0)
        .out;
    assert!(kept.contains("Partitions dropped: 0"), "{kept}");
    let refused = asked(&scene, "retention --keep 400").await.exits(2);
    refused.says(&["--export"]);
    assert_eq!(
        scene.count("select count(*) from outbox.event").await,
        events
    );
}

#[tokio::test]
async fn a_restored_dump_is_refused_until_somebody_rebases_it_for_a_reason() {
    let scene = closed().await;
    ordered(&scene, "rebase")
        .await
        .exits(1)
        .says(&["nothing was changed"]);
    let server = Server::start(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let file = server.data_dir().join("dump.sql");
    testkit::dump(scene.url(), &file).unwrap();
    testkit::restore(&file, &server.url()).unwrap();
    let there = |command: &str| {
        scene
            .relay(command)
            .env("BILLING_DATABASE_URL", server.url())
    };

    let refused = there("").run().await.exits(1);
    refused.says(&["outbox-relay rebase --reason"]);
    let by = ["--reason", "the server burned down", "--by", "ann"];
    let rebased = there("rebase").with(by).run().await.exits(0).out;
    assert!(
        rebased.contains("The log goes on here with tick"),
        "{rebased}"
    );

    let running = there("").start();
    running.has_said("consumers: ").await;
    running.stop().await.exits(0);
    let again = there("rebase").with(by).run().await.exits(1);
    again.says(&["nothing was changed"]);
}
