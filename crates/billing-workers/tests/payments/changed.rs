//! The world changes between an invoice and its charge: what is owed by then is what counts.

use std::sync::Arc;

use billing::gateway::{Charge, Gateway as _};
use billing::ids::PaymentId;
use billing::money::Money;
use outbox::{Act, Event};
use uuid::Uuid;

use crate::gate::Trick;
use crate::hand::Hand;
use crate::world::{Customer, World, usd};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Credit,
    HalfCredit,
    CardRemoved,
    ByHand,
    HalfByHand,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gap {
    BeforeDecision,
    BeforeDeparture,
    /// It departed, and got lost: nobody knows of it.
    AfterLostCall,
    /// It departed, and nobody was there.
    AfterUnsentCall,
}

/// The change; whether something is left to be charged for; the state of the invoice in the end.
const CHANGES: &[(Change, bool, &str)] = &[
    (Change::Credit, false, "paid"),
    (Change::HalfCredit, true, "paid"),
    (Change::CardRemoved, false, "finalized"),
    (Change::ByHand, false, "paid"),
    (Change::HalfByHand, true, "paid"),
];
const GAPS: &[Gap] = &[
    Gap::BeforeDecision,
    Gap::BeforeDeparture,
    Gap::AfterLostCall,
    Gap::AfterUnsentCall,
];

fn half(money: Money) -> Money {
    usd(money.minor() / 2)
}

impl Change {
    async fn happen(self, world: &World, customer: &Customer) {
        let due = customer.due;
        match self {
            Self::Credit => world.grant(customer, due).await,
            Self::HalfCredit => world.grant(customer, half(due)).await,
            Self::CardRemoved => world.remove_card(customer).await,
            Self::ByHand => world.pay_by_hand(customer, due).await,
            Self::HalfByHand => world.pay_by_hand(customer, half(due)).await,
        }
    }
}

/// Handles an event up to the gap, lets the world change, and goes on to the end.
async fn go_through(hand: &Hand, event: &Event, (gap, change): (Gap, Change), of: &Customer) {
    let world = &hand.world;
    if gap == Gap::BeforeDecision {
        change.happen(world, of).await;
        hand.handle(event).await;
        return hand.drain().await;
    }
    let call = hand.call(event).await;
    match gap {
        Gap::BeforeDecision | Gap::BeforeDeparture => change.happen(world, of).await,
        Gap::AfterLostCall => world.gate.play(Trick::Lose),
        Gap::AfterUnsentCall => world.gate.play(Trick::Unreachable),
    }
    match hand.act(&call).await {
        Act::Answer(answer) => hand.settle(call, answer).await,
        Act::Unavailable { .. } => {}
        other => panic!("{gap:?} {change:?}: {other:?}"),
    }
    if gap != Gap::BeforeDeparture {
        change.happen(world, of).await;
    }
    // The engine hands over again what was not answered; what was is found to be recorded.
    hand.handle(event).await;
    hand.drain().await;
}

#[tokio::test]
async fn what_is_no_longer_owed_is_not_charged() {
    let world = Arc::new(World::open().await);
    let cases: Vec<_> = GAPS
        .iter()
        .flat_map(|gap| CHANGES.iter().map(move |change| (*gap, *change)))
        .collect();
    let customers = world.billed(&vec!["tok_approve"; cases.len()]).await;
    let hand = Hand::of(&world);
    let news = hand.news().await;

    for (customer, (gap, (change, is_charged, invoice))) in customers.iter().zip(cases) {
        let event = news
            .iter()
            .find(|one| one.key == Uuid::from(customer.account));
        go_through(&hand, event.unwrap(), (gap, change), customer).await;

        let charged = world.attempts(customer).await.contains("succeeded");
        assert_eq!(charged, is_charged, "{gap:?} {change:?}");
        let state = world.invoice_state(customer).await;
        assert_eq!(state, invoice, "{gap:?} {change:?}");
        assert_eq!(world.credit(customer).await, 0, "{gap:?} {change:?}");
    }
    world.agree().await;
}

/// Control: who charges what the event says.
#[tokio::test]
async fn who_believes_the_event_charges_for_what_was_paid() {
    let world = Arc::new(World::open().await);
    let customer = world.billed_one("tok_approve").await;
    let event = Hand::of(&world).news().await.remove(0);
    world.pay_by_hand(&customer, customer.due).await;

    let naive = Charge {
        payment: PaymentId::new(),
        token: "tok_approve".to_owned(),
        money: usd(event.payload.to_value()["total_minor"].as_i64().unwrap()),
        description: "INV-000001".to_owned(),
    };
    world.gate.house.charge(&naive).await.unwrap();

    assert_eq!(world.invoice_state(&customer).await, "paid");
    assert_eq!(world.statement().await.remove(0).money, customer.due);
}

/// Nothing can call a charge back: what came in beyond what was owed is the customer's.
#[tokio::test]
async fn what_was_captured_though_it_was_paid_meanwhile_is_the_customers() {
    let world = Arc::new(World::open().await);
    let customer = world.billed_one("tok_approve").await;
    let hand = Hand::of(&world);
    let call = hand.call(&hand.news().await[0]).await;
    let Act::Answer(answer) = hand.act(&call).await else {
        panic!("no answer");
    };

    world.pay_by_hand(&customer, customer.due).await;
    hand.settle(call, answer).await;

    assert_eq!(world.invoice_state(&customer).await, "paid");
    assert_eq!(world.credit(&customer).await, customer.due.minor());
    let overpaid = world
        .count("outbox.event where topic = 'payment.overpaid'")
        .await;
    assert_eq!(overpaid, 1);
    world.agree().await;
}
