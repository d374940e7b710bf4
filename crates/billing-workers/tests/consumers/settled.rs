//! A close is settled when all that its invoices set off has been handled, and then finance has its
//! report.

use std::time::Duration;

use billing_workers::report_path;
use testkit::until;

use crate::world::{World, september};

const SETTLED: &str = "select (settled_at is not null)::text from billing.month_close";
const TOLD: &str = "select count(*)::text from outbox.event where topic = 'month_close.settled'";

#[tokio::test]
async fn a_close_is_settled_and_reported_when_all_that_it_set_off_is_handled() {
    let world = World::closed().await;
    let report = report_path(&world.reports_dir(), september());
    assert_eq!(world.ask(SETTLED).await, "false");

    world.deliver_everything().await;

    assert_eq!(world.ask(SETTLED).await, "true");
    assert_eq!(world.ask(TOLD).await, "1");
    let lines = std::fs::read_to_string(report).unwrap();
    assert_eq!(lines.lines().count(), 1 + 66);
    let last = "select (max(id) filter (where topic <> 'month_close.settled')
            < max(id) filter (where topic = 'month_close.settled'))::text
        from outbox.event";
    assert_eq!(world.ask(last).await, "true", "it is told behind all else");
    let without = "select count(*)::text from outbox.event
        where batch_id is null and topic ~ '^(invoice|payment|notice|hold)'";
    assert_eq!(world.ask(without).await, "0", "all of it is of the batch");
}

#[tokio::test]
async fn the_end_of_an_earlier_batch_settles_nothing() {
    let world = World::closed().await;
    sqlx::query("update billing.month_close set batch_id = gen_random_uuid()")
        .execute(world.outbox.pool())
        .await
        .unwrap();

    world.deliver_everything().await;

    assert_eq!(world.ask(TOLD).await, "1");
    assert_eq!(world.ask(SETTLED).await, "false");
    assert!(!world.reports_dir().exists());
    let obsolete = "select count(*)::text from outbox.obsolete
        where reason like 'the month was opened again%'";
    assert_eq!(world.ask(obsolete).await, "1");
}

#[tokio::test]
async fn a_report_waits_for_its_folder_and_the_close_with_it() {
    let world = World::closed().await;
    std::fs::write(world.reports_dir(), "in the way").unwrap();

    let running = world.start(|| ());
    let waits = "select count(*)::text from outbox.member where closed_until > clock_timestamp()";
    let patience = Duration::from_secs(60);
    until("the consumer to wait", patience, async || {
        (world.ask(waits).await == "1").then_some(())
    })
    .await
    .unwrap();
    assert_eq!(world.ask(SETTLED).await, "false");

    std::fs::remove_file(world.reports_dir()).unwrap();
    until("the close to be settled", patience, async || {
        (world.ask(SETTLED).await == "true").then_some(())
    })
    .await
    .unwrap();
    running.stop().await;
}
