//! The process dies after each step of the protocol, three times in a row: the charge is made once
//! and recorded.

use std::sync::Arc;

use billing::gateway::{Charge, Gateway as _};
use billing::ids::PaymentId;
use outbox::{Act, Event, Load};
use uuid::Uuid;

use crate::gate::Trick;
use crate::hand::Hand;
use crate::world::{World, usd};

/// After which step it dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Decided,
    Departed,
    Called,
    Answered,
    Recorded,
}

const STEPS: [Step; 5] = [
    Step::Decided,
    Step::Departed,
    Step::Called,
    Step::Answered,
    Step::Recorded,
];

/// What a process does with an event until it dies.
async fn die(hand: &Arc<Hand>, event: &Event, step: Step) {
    let gate = &hand.world.gate;
    match step {
        Step::Decided => drop(hand.load(event).await),
        Step::Departed => {
            gate.play(Trick::StopBefore);
            hand.die_handling(event).await;
        }
        Step::Called => {
            gate.play(Trick::StopAfterCharge);
            hand.die_handling(event).await;
        }
        Step::Answered => {
            if let Load::Call(call) = hand.load(event).await {
                assert!(matches!(hand.act(&call).await, Act::Answer(_)));
            }
        }
        Step::Recorded => hand.handle(event).await,
    }
}

#[tokio::test]
async fn a_process_that_dies_at_any_three_steps_leaves_one_charge_that_is_recorded() {
    let world = Arc::new(World::open().await);
    let threes = STEPS.iter().flat_map(|first| {
        let seconds = STEPS.iter();
        seconds.flat_map(move |second| STEPS.iter().map(move |third| [*first, *second, *third]))
    });
    let threes: Vec<[Step; 3]> = threes.collect();
    let customers = world.billed(&vec!["tok_approve"; threes.len()]).await;
    let news = Hand::of(&world).news().await;

    for (customer, steps) in customers.iter().zip(threes) {
        let event = news
            .iter()
            .find(|one| one.key == Uuid::from(customer.account));
        for step in steps {
            // Each process is a new one, and knows nothing but what was written.
            die(&Hand::of(&world), event.unwrap(), step).await;
        }
        Hand::of(&world).handle(event.unwrap()).await;

        assert_eq!(world.attempts(customer).await, "succeeded", "{steps:?}");
        assert_eq!(world.invoice_state(customer).await, "paid", "{steps:?}");
    }
    assert_eq!(world.statement().await.len(), customers.len());
    world.agree().await;
}

/// Control: a process that writes nothing down before it calls.
#[tokio::test]
async fn a_process_that_remembers_nothing_charges_again_after_each_death() {
    let world = World::open().await;
    let charge = || Charge {
        payment: PaymentId::new(),
        token: "tok_approve".to_owned(),
        money: usd(1201),
        description: "INV-000001".to_owned(),
    };

    for _ in 0..3 {
        world.gate.house.charge(&charge()).await.unwrap();
    }

    assert_eq!(world.statement().await.len(), 3);
}

/// The key of a payment that nobody heard of for longer than the gateway keeps keys would charge
/// again: it is burnt instead, or tells what it did.
#[tokio::test]
async fn a_key_that_the_gateway_may_have_forgotten_is_not_used_again() {
    for was_called in [false, true] {
        let world = Arc::new(World::open().await);
        let customer = world.billed_one("tok_approve").await;
        let hand = Hand::of(&world);
        let event = hand.news().await.remove(0);
        let step = if was_called {
            Step::Called
        } else {
            Step::Departed
        };
        die(&hand, &event, step).await;
        world.pass(48).await;

        Hand::of(&world).handle(&event).await;
        let wanted: Vec<Event> = hand.news().await;
        for event in &wanted {
            hand.handle(event).await;
        }

        let attempts = if was_called {
            "succeeded"
        } else {
            "cancelled succeeded"
        };
        assert_eq!(world.attempts(&customer).await, attempts);
        assert_eq!(world.statement().await.len(), 1);
        world.agree().await;
    }
}

/// Control: a gateway that has forgotten the key.
#[tokio::test]
async fn a_forgotten_key_charges_again() {
    let lifetime = std::time::Duration::from_millis(1);
    let forgetful = |sim: gateway_sim::GatewaySim| sim.key_lifetime(lifetime);
    let world = World::with(forgetful, std::time::Duration::from_secs(10)).await;
    let charge = Charge {
        payment: PaymentId::new(),
        token: "tok_approve".to_owned(),
        money: usd(1201),
        description: "INV-000001".to_owned(),
    };

    let charged = async || world.gate.house.charge(&charge).await.unwrap();
    charged().await;
    testkit::until(
        "the key to be forgotten",
        crate::world::PATIENCE,
        async || {
            charged().await;
            (world.statement().await.len() > 1).then_some(())
        },
    )
    .await
    .unwrap();
}
