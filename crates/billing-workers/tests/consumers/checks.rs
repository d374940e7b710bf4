//! The consumer of the checks: a run that fails is tried again, and hides nothing.

use std::time::Duration;

use outbox::{NewEvent, Origin};
use serde_json::json;
use testkit::until;
use uuid::Uuid;

use crate::world::World;

const PATIENCE: Duration = Duration::from_secs(60);
const TOLD: &str = "select coalesce(string_agg(payload ->> 'code', ' ' order by id), '')
    from outbox.event where topic = 'check.violated'";

/// What a slot of the schedule appends.
async fn ask_for_a_run(world: &World) {
    let mut tx = world.outbox.begin(Origin::of("a test")).await.unwrap();
    let locked = tx.locked(Uuid::nil());
    let payload = json!({ "slot": outbox::clock::now() });
    tx.append(locked, NewEvent::new("check.due", 1, payload));
    tx.commit().await.unwrap();
}

async fn run(world: &World, sql: &'static str) {
    sqlx::raw_sql(sql)
        .execute(world.outbox.pool())
        .await
        .unwrap();
}

async fn until_true(world: &World, question: &'static str) {
    until(question, PATIENCE, async || {
        (world.ask(question).await == "true").then_some(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_check_that_cannot_run_hides_no_other_and_the_run_is_tried_again() {
    let world = World::closed().await;
    world.deliver_everything().await;
    run(&world, "update billing.number_series set next_number = 1").await;
    run(&world, "alter table billing.gateway_webhook rename to away").await;
    ask_for_a_run(&world).await;

    let running = world.start(|| ());
    let waits = "select coalesce(bool_or(state = 'retry'
            and last_error like '%check P12 could not be run%'), false)::text
        from outbox.delivery where topic = 'check.due'";
    until_true(&world, waits).await;
    assert_eq!(world.ask(TOLD).await, "I3");

    run(&world, "alter table billing.away rename to gateway_webhook").await;
    run(
        &world,
        "update outbox.delivery set next_at = clock_timestamp()",
    )
    .await;
    let is_over = "select (count(*) = 0)::text from outbox.delivery";
    until_true(&world, is_over).await;
    running.stop().await;

    assert_eq!(world.ask(TOLD).await, "I3", "it was told already");
    let judged = "select count(*)::text from billing.check_result where code = 'P12'";
    assert_eq!(world.ask(judged).await, "1");
}

#[tokio::test]
async fn slots_that_waited_together_are_one_run() {
    let world = World::closed().await;
    world.deliver_everything().await;
    ask_for_a_run(&world).await;
    ask_for_a_run(&world).await;

    world.deliver_everything().await;

    let obsolete = "select string_agg(reason, ' ') from outbox.obsolete
        join outbox.consumer using (consumer) where name = 'checks'";
    assert_eq!(world.ask(obsolete).await, "all was looked at since");
    let violated = "select coalesce(string_agg(code, ' '), 'none') from billing.check_result
        where violations > 0";
    assert_eq!(world.ask(violated).await, "none");
    assert_eq!(world.ask(TOLD).await, "");
}
