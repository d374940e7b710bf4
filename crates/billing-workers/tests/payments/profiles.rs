//! The gateway is one of nine kinds, and all goes wrong with it that can: at the end its books and
//! ours agree, nobody is charged twice, and nothing is closed as failed though money moved.
//!
//! Webhooks go to nobody: asking is enough. Time passes by hand, here and at the gateway.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use billing::gateway::Gateway as _;
use billing_workers::gateways::House;
use futures::future::join_all;
use gateway_sim::{GatewaySim, Profile};
use testkit::until;
use uuid::Uuid;

use crate::gate::Trick;
use crate::hand::Hand;
use crate::planted::noticed;
use crate::proxy;
use crate::world::{Customer, PATIENCE, SECRET, World};

/// A client so impatient that a late request outlives it.
const SHORT: Duration = Duration::from_millis(700);
const LATE: &str = "tok_late_1600ms";
/// One that waits for whatever is answered.
const PATIENT: Duration = Duration::from_secs(10);
const ERROR_BEFORE: &str = "tok_500_once";

const TOKENS: [&str; 6] = [
    "tok_timeout_charged",
    "tok_timeout_charged_1ms",
    ERROR_BEFORE,
    "tok_busy_then_ok",
    LATE,
    proxy::RESET,
];

/// A gateway of one kind, reached through the proxy and taken for one of another.
async fn world(is: Profile, taken_for: Profile, timeout: Duration) -> Arc<World> {
    let folder = tempfile::tempdir().unwrap();
    let sim = GatewaySim::at(folder.path())
        .profile(is)
        .webhook("http://127.0.0.1:1/webhooks", SECRET);
    let sim = sim.start().await.unwrap();
    let house = House::at(&proxy::before(&sim.url()).await).unwrap();
    let house = house.timeout(timeout).profile(taken_for);
    Arc::new(World::of((sim, folder), house).await)
}

fn named(name: &str) -> Profile {
    Profile::named(name).unwrap()
}

/// Lets hours pass at the gateway and for all payments.
async fn pass(world: &World, hours: u32) {
    world.sim.advance(Duration::from_secs(3600) * hours);
    world.pass(hours).await;
}

/// Handles what is there and what follows from it. A naive machine would never come to an end.
async fn go_through(hand: &Hand) {
    for _ in 0..8 {
        for event in hand.news().await {
            hand.handle(&event).await;
        }
    }
}

/// The payments of which nobody knows.
async fn unknown(world: &World) -> Vec<Uuid> {
    let sql = "select payment_id from billing.payment where state in ('sent', 'unknown')";
    let ids = world.ask(sql).await;
    ids.split_whitespace()
        .map(|id| id.parse().unwrap())
        .collect()
}

/// Asks for what is unknown, for less time than the shortest of the long keys lives: a request that
/// is still on its way here would have been under way for days.
async fn resolve(hand: &Hand) {
    go_through(hand).await;
    for hours in [0, 1, 1, 1] {
        pass(&hand.world, hours).await;
        for payment in unknown(&hand.world).await {
            hand.ask(payment).await;
        }
        go_through(hand).await;
    }
}

/// Waits until the request that is late has landed.
async fn land(world: &World, late: &Customer) {
    let invoice = Uuid::from(late.invoice);
    let sql = format!("select payment_id from billing.payment where invoice_id = '{invoice}'");
    let payment: Uuid = world.ask(&sql).await.parse().unwrap();
    world.sim.advance(Duration::from_secs(6));
    until("the late request to land", PATIENCE, async || {
        world
            .gate
            .house
            .look_up(payment.into())
            .await
            .ok()
            .flatten()
    })
    .await
    .unwrap();
}

/// What became of a card that fails once before it is charged.
fn after_an_error_before(profile: Profile) -> &'static str {
    match profile.name {
        "saves-errors" | "forgets-errors" | "no-keys" => "manual",
        "short-keys" => "cancelled succeeded",
        _ => "succeeded",
    }
}

async fn nobody_is_charged_twice(world: &World, profile: &str) {
    let statement = world.statement().await;
    let mut seen = HashSet::new();
    for movement in &statement {
        let sql = format!(
            "select invoice_id from billing.payment where payment_id = '{}'",
            movement.reference
        );
        let invoice = world.ask(&sql).await;
        assert!(seen.insert(invoice), "{profile}: charged twice");
    }
}

async fn everything_goes_wrong(profile: Profile) {
    let world = world(profile, profile, SHORT).await;
    let customers = world.billed(&TOKENS).await;
    let hand = Hand::of(&world);

    go_through(&hand).await;
    nobody_is_charged_twice(&world, profile.name).await;
    land(&world, &customers[4]).await;
    resolve(&hand).await;

    nobody_is_charged_twice(&world, profile.name).await;
    for (customer, token) in customers.iter().zip(TOKENS) {
        let expected = match token {
            ERROR_BEFORE => after_an_error_before(profile),
            _ => "succeeded",
        };
        let became = world.attempts(customer).await;
        assert_eq!(became, expected, "{} {token}", profile.name);
    }
    world.agree().await;
}

#[tokio::test]
async fn whatever_goes_wrong_at_whatever_gateway_the_books_agree() {
    join_all(Profile::ALL.map(everything_goes_wrong)).await;
}

/// What the controls run, because a naive machine would never come to an end of the others.
#[tokio::test]
async fn an_answer_that_never_came_is_one_charge() {
    let world = world(Profile::DEFAULT, Profile::DEFAULT, SHORT).await;
    let customers = world.billed(&["tok_timeout_charged", proxy::RESET]).await;

    resolve(&Hand::of(&world)).await;

    nobody_is_charged_twice(&world, "default").await;
    for customer in &customers {
        assert_eq!(world.attempts(customer).await, "succeeded");
    }
    world.agree().await;
}

#[test]
fn a_new_key_at_each_try_is_noticed() {
    let test = "profiles::an_answer_that_never_came_is_one_charge";

    let printed = noticed("B08", test).unwrap();

    assert!(printed.contains("charged twice"), "{printed}");
}

#[test]
fn silence_that_is_taken_for_a_failure_is_noticed() {
    let test = "profiles::an_answer_that_never_came_is_one_charge";

    let printed = noticed("B10", test).unwrap();

    assert!(printed.contains("charged twice"), "{printed}");
}

/// Control: whoever takes keys for granted, and sends again what is on its way.
#[tokio::test]
async fn a_gateway_without_keys_that_is_taken_for_another_charges_twice() {
    let world = world(named("no-keys"), Profile::DEFAULT, SHORT).await;
    let customer = world.billed_one(LATE).await;
    let hand = Hand::of(&world);

    go_through(&hand).await;
    land(&world, &customer).await;

    until("both to land", PATIENCE, async || {
        (world.statement().await.len() > 1).then_some(())
    })
    .await
    .unwrap();
}

/// Control: whoever waits for another answer than the one that was saved.
#[tokio::test]
async fn a_saved_error_that_is_not_expected_is_asked_for_again_and_again() {
    for (taken_for, became) in [("default", "unknown"), ("saves-errors", "manual")] {
        let world = world(named("saves-errors"), named(taken_for), PATIENT).await;
        let customer = world.billed_one(ERROR_BEFORE).await;
        let hand = Hand::of(&world);
        go_through(&hand).await;

        for _ in 0..5 {
            pass(&world, 1).await;
            for payment in unknown(&world).await {
                hand.ask(payment).await;
            }
        }

        assert_eq!(world.attempts(&customer).await, became, "{taken_for}");
    }
}

/// What became of a payment that had left, and never arrived, when its key was over.
fn after_days(profile: Profile) -> &'static str {
    match profile.cancels_by_key {
        true => "cancelled succeeded",
        false => "manual",
    }
}

async fn down_for_days(profile: Profile) {
    for trick in [Trick::StopBefore, Trick::StopAfterCharge] {
        let world = world(profile, profile, PATIENT).await;
        let customer = world.billed_one("tok_approve").await;
        let hand = Hand::of(&world);
        let event = hand.news().await.remove(0);
        if profile.throttles {
            // Turned away once, it is let in the second time.
            let call = hand.call(&event).await;
            hand.act(&call).await;
        }
        world.gate.play(trick);
        hand.die_handling(&event).await;

        pass(&world, 72).await;
        let successor = Hand::of(&world);
        successor.handle(&event).await;
        go_through(&successor).await;

        nobody_is_charged_twice(&world, profile.name).await;
        let expected = match trick {
            Trick::StopAfterCharge => "succeeded",
            _ => after_days(profile),
        };
        let became = world.attempts(&customer).await;
        assert_eq!(became, expected, "{} {trick:?}", profile.name);
        world.agree().await;
    }
}

#[tokio::test]
async fn a_key_whose_life_ended_while_we_were_down_is_not_used_again() {
    join_all(Profile::ALL.map(down_for_days)).await;
}

/// There is one call only, so it is written down before.
#[tokio::test]
async fn a_process_that_dies_after_a_call_without_a_key_charges_once() {
    let world = world(named("no-keys"), named("no-keys"), PATIENT).await;
    let customer = world.billed_one("tok_approve").await;
    let event = Hand::of(&world).news().await.remove(0);
    world.gate.play(Trick::StopAfterCharge);
    Hand::of(&world).die_handling(&event).await;

    Hand::of(&world).handle(&event).await;

    nobody_is_charged_twice(&world, "no-keys").await;
    assert_eq!(world.attempts(&customer).await, "succeeded");
    world.agree().await;
}

#[test]
fn a_departure_after_the_call_is_noticed() {
    let test = "profiles::a_process_that_dies_after_a_call_without_a_key_charges_once";

    let printed = noticed("B09", test).unwrap();

    assert!(printed.contains("no-keys: charged twice"), "{printed}");
}

/// What surely was not sent may leave again, even where nothing is sent twice.
#[tokio::test]
async fn a_gateway_without_keys_that_was_away_is_not_a_matter_for_people() {
    let world = world(named("no-keys"), named("no-keys"), PATIENT).await;
    let customer = world.billed_one("tok_approve").await;
    let hand = Hand::of(&world);
    world.gate.play(Trick::Unreachable);

    go_through(&hand).await;

    assert_eq!(world.attempts(&customer).await, "succeeded");
    world.agree().await;
}
