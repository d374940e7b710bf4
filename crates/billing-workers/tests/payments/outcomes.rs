//! What becomes of an invoice, by what the gateway does with its card.

use std::sync::Arc;
use std::time::Duration;

use billing::gateway::{CallError, Charge, Gateway as _};
use billing::ids::PaymentId;
use testkit::until;

use crate::hand::Hand;
use crate::world::{Customer, PATIENCE, World};

const SHORT: Duration = Duration::from_millis(400);

/// The token, the states of the attempts, the state of the invoice.
const CASES: &[(&str, &str, &str)] = &[
    ("tok_approve", "succeeded", "paid"),
    ("tok_decline", "declined", "finalized"),
    ("tok_soft_then_ok", "declined", "finalized"),
    ("tok_none", "declined", "finalized"),
    ("tok_timeout_charged", "succeeded", "paid"),
    ("tok_timeout_charged_10ms", "succeeded", "paid"),
    ("tok_500_then_ok", "succeeded", "paid"),
    ("tok_busy_then_ok", "succeeded", "paid"),
    ("tok_slow_50ms", "succeeded", "paid"),
    ("tok_slow_1000ms", "succeeded", "paid"),
    ("tok_late_50ms", "succeeded", "paid"),
    // Half of it was taken: the books say what was, and the rest is still due.
    ("tok_wrong_amount", "succeeded", "finalized"),
];

#[tokio::test]
async fn a_card_is_charged_once_whatever_the_gateway_does() {
    let world = Arc::new(World::with(|sim| sim, SHORT).await);
    let tokens: Vec<&str> = CASES.iter().map(|(token, _, _)| *token).collect();
    let customers = world.billed(&tokens).await;

    Hand::of(&world).drain().await;

    for (customer, (token, attempts, invoice)) in customers.iter().zip(CASES) {
        assert_eq!(world.attempts(customer).await, *attempts, "{token}");
        assert_eq!(world.invoice_state(customer).await, *invoice, "{token}");
    }
    world.agree().await;
}

fn charge(customer: &Customer, token: &str) -> Charge {
    Charge {
        payment: PaymentId::new(),
        token: token.to_owned(),
        money: customer.due,
        description: "INV-000001".to_owned(),
    }
}

/// Control: who takes silence for a failure, and tries anew.
#[tokio::test]
async fn a_new_key_after_a_timeout_charges_twice() {
    let world = World::with(|sim| sim, SHORT).await;
    let customer = world.billed_one("tok_timeout_charged").await;

    for _ in 0..2 {
        let charge = charge(&customer, "tok_timeout_charged");
        let answer = world.gate.house.charge(&charge).await;
        assert!(matches!(answer, Err(CallError::Unknown(_))), "{answer:?}");
    }

    assert_eq!(world.statement().await.len(), 2);
}

/// Control: who takes a 500 for a refusal, and leaves it there.
#[tokio::test]
async fn a_500_that_is_believed_leaves_an_invoice_unpaid() {
    let world = World::open().await;
    let customer = world.billed_one("tok_500_then_ok").await;

    let answer = world
        .gate
        .house
        .charge(&charge(&customer, "tok_500_then_ok"))
        .await;

    assert!(matches!(answer, Err(CallError::Unknown(_))), "{answer:?}");
    assert_eq!(world.statement().await.len(), 0);
    assert_eq!(world.invoice_state(&customer).await, "finalized");
}

/// Control: who books what was asked for.
#[tokio::test]
async fn the_amount_that_was_asked_for_is_not_what_was_taken() {
    let world = World::open().await;
    let customer = world.billed_one("tok_wrong_amount").await;

    let charge = charge(&customer, "tok_wrong_amount");
    world.gate.house.charge(&charge).await.unwrap();

    let taken = world.statement().await.remove(0).money;
    assert_ne!(taken, charge.money);
}

/// A look-up that finds nothing proves nothing: the request may land later. The same key is what
/// makes one charge of it.
#[tokio::test]
async fn a_request_that_lands_after_it_was_looked_for_is_charged_once() {
    let world = Arc::new(World::with(|sim| sim, SHORT).await);
    let customer = world.billed_one("tok_late_1500ms").await;
    let hand = Hand::of(&world);
    hand.handle(&hand.news().await[0]).await;
    // What the timer appends when it is time to ask again is what was appended now.
    let asking_again = hand.news().await.remove(0);
    hand.handle(&asking_again).await;
    assert_eq!(world.attempts(&customer).await, "unknown");

    until("the request to land", PATIENCE, async || {
        (!world.statement().await.is_empty()).then_some(())
    })
    .await
    .unwrap();
    hand.handle(&asking_again).await;

    assert_eq!(world.attempts(&customer).await, "succeeded");
    world.agree().await;
}
