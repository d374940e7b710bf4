//! What becomes of a refund, by what becomes of its calls.

use std::sync::atomic::Ordering;

use billing::gateway::{Gateway as _, Refund};
use billing::ids::RefundId;
use outbox::Load;

use crate::silent::Line;
use crate::till::{Till, wanted};
use crate::world::usd;

#[tokio::test]
async fn a_refund_moves_money_and_the_invoice_stays_paid() {
    let (till, paid) = Till::open(1).await;
    let (customer, payment) = &paid[0];
    till.request(wanted(*payment, usd(600))).await.unwrap();

    till.handle("refund.requested").await;

    assert_eq!(till.states().await, "succeeded");
    assert_eq!(till.given_back().await, [600]);
    assert_eq!(till.moved().await, "allowance=600 cash=-600");
    assert_eq!(till.world.invoice_state(customer).await, "paid");
    let told = till.newest("refund.succeeded").await;
    assert_eq!(told.payload.to_value()["amount_minor"], 600);
    till.agree().await;
}

#[tokio::test]
async fn a_refund_that_is_sent_twice_moves_money_once() {
    let (till, paid) = Till::open(1).await;
    till.request(wanted(paid[0].1, usd(600))).await.unwrap();
    let event = till.newest("refund.requested").await;

    // The first process is frozen before its call, the second takes its place, both go on.
    let (frozen, successor) = (till.call(&event).await, till.call(&event).await);
    let second = till.act(&successor).await;
    let first = till.act(&frozen).await;
    till.settle(successor, second).await;
    till.settle(frozen, first).await;

    assert_eq!(till.silent.sent.load(Ordering::SeqCst), 2);
    assert_eq!(till.given_back().await, [600]);
    assert_eq!(till.moved().await, "allowance=600 cash=-600");
    assert!(matches!(till.load(&event).await, Load::Recorded));
    till.agree().await;
}

#[tokio::test]
async fn a_process_that_died_after_the_call_is_followed_by_one_that_asks() {
    let (till, paid) = Till::open(1).await;
    till.request(wanted(paid[0].1, usd(600))).await.unwrap();
    let call = till.call(&till.newest("refund.requested").await).await;
    till.act(&call).await;
    drop(call);

    till.handle("refund.requested").await;

    assert_eq!(till.silent.sent.load(Ordering::SeqCst), 1);
    assert_eq!(till.given_back().await, [600]);
    till.agree().await;
}

#[tokio::test]
async fn a_timeout_is_looked_up_and_not_sent_again() {
    let (till, paid) = Till::open(1).await;
    till.request(wanted(paid[0].1, usd(600))).await.unwrap();
    till.silent.becomes(Line::Unheard);
    till.handle("refund.requested").await;
    assert_eq!(till.states().await, "unknown");

    till.handle("refund.unresolved").await;

    assert_eq!(till.states().await, "succeeded");
    assert_eq!(till.silent.sent.load(Ordering::SeqCst), 1);
    assert_eq!(till.given_back().await, [600]);
    till.agree().await;
}

/// Control: who takes silence for a failure, and tries anew.
#[tokio::test]
async fn a_new_key_after_a_timeout_gives_back_twice() {
    let (till, paid) = Till::open(1).await;
    let sql = "select gateway_ref from billing.payment";
    let charge_ref = till.world.ask(sql).await;
    assert_eq!(paid.len(), 1);
    till.silent.becomes(Line::Unheard);

    for _ in 0..2 {
        let refund = Refund {
            refund: RefundId::new(),
            charge_ref: charge_ref.clone(),
            money: usd(500),
        };
        assert!(till.silent.refund(&refund).await.is_err());
    }

    assert_eq!(till.given_back().await, [500, 500]);
}

#[tokio::test]
async fn a_request_that_got_lost_is_sent_again_with_its_key_and_asked_for_ever_more_rarely() {
    let (till, paid) = Till::open(1).await;
    till.request(wanted(paid[0].1, usd(600))).await.unwrap();
    till.silent.becomes(Line::Lost);
    till.handle("refund.requested").await;
    let unresolved = till.newest("refund.unresolved").await;
    let call = till.call(&unresolved).await;
    let outcome = till.act(&call).await;
    till.settle(call, outcome).await;
    let planned = "outbox.timer where topic = 'refund.unresolved'";
    assert_eq!(till.world.count(planned).await, 1);

    till.silent.becomes(Line::Clear);
    till.handle("refund.unresolved").await;

    assert_eq!(till.states().await, "succeeded");
    assert_eq!(till.given_back().await, [600]);
    till.agree().await;
}

/// Somebody gave money back at the gateway itself: ours is above what is left there.
#[tokio::test]
async fn what_the_gateway_refuses_is_declined_and_moves_nothing() {
    let (till, paid) = Till::open(1).await;
    let charge_ref = till
        .world
        .ask("select gateway_ref from billing.payment")
        .await;
    let theirs = Refund {
        refund: RefundId::new(),
        charge_ref,
        money: usd(500),
    };
    till.world.gate.refund(&theirs).await.unwrap();
    till.request(wanted(paid[0].1, usd(600))).await.unwrap();

    till.handle("refund.requested").await;

    assert_eq!(till.states().await, "declined");
    assert_eq!(till.moved().await, "");
    let told = till.newest("refund.declined").await;
    let told = told.payload.to_value();
    let why = told["why"].as_str().unwrap();
    assert!(why.contains("refund_above_captured"), "{why}");
}
