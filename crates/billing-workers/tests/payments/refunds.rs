//! Money that is given back, at the gateway.

use billing::gateway::{Charge, Gateway as _, Refund, RefundVerdict, Verdict};
use billing::ids::{PaymentId, RefundId};
use billing_workers::gateways::House;
use gateway_sim::{GatewaySim, Running};
use tempfile::TempDir;

use crate::world::usd;

/// A gateway with a charge of 12.01, by its name.
async fn charged() -> (House, String, (Running, TempDir)) {
    let folder = tempfile::tempdir().unwrap();
    let sim = GatewaySim::at(folder.path()).start().await.unwrap();
    let house = House::of_simulator(sim.address());
    let charge = Charge {
        payment: PaymentId::new(),
        token: "tok_approve".to_owned(),
        money: usd(1201),
        description: "INV-000001".to_owned(),
    };
    let Verdict::Captured { gateway_ref, .. } = house.charge(&charge).await.unwrap() else {
        panic!("declined");
    };
    (house, gateway_ref, (sim, folder))
}

fn refund(charge_ref: &str, minor: i64) -> Refund {
    Refund {
        refund: RefundId::new(),
        charge_ref: charge_ref.to_owned(),
        money: usd(minor),
    }
}

#[tokio::test]
async fn a_refund_that_is_asked_for_again_is_given_once() {
    let (house, charge_ref, _running) = charged().await;
    let wanted = refund(&charge_ref, 500);
    assert_eq!(house.look_up_refund(wanted.refund).await, Ok(None));

    let first = house.refund(&wanted).await.unwrap();
    let second = house.refund(&wanted).await.unwrap();

    let RefundVerdict::GivenBack { money, .. } = &first else {
        panic!("{first:?}");
    };
    assert_eq!(*money, usd(500));
    assert_eq!(first, second);
    assert_eq!(house.look_up_refund(wanted.refund).await, Ok(Some(first)));
    let statement = house.statement(0).await.unwrap();
    let minor: Vec<i64> = statement.iter().map(|moved| moved.money.minor()).collect();
    assert_eq!(minor, [1201, -500]);

    // Control: a new key is a new refund.
    house.refund(&refund(&charge_ref, 500)).await.unwrap();
    assert_eq!(house.statement(0).await.unwrap().len(), 3);
}

#[tokio::test]
async fn more_than_was_captured_is_not_given_back() {
    let (house, charge_ref, _running) = charged().await;

    let above = house.refund(&refund(&charge_ref, 1202)).await.unwrap();
    let strange = house.refund(&refund("ch_9999999999", 1)).await.unwrap();

    for (verdict, code) in [
        (above, "refund_above_captured"),
        (strange, "unknown_charge"),
    ] {
        let RefundVerdict::Declined(why) = &verdict else {
            panic!("{verdict:?}");
        };
        assert!(why.contains(code), "{why}");
    }
    assert_eq!(house.statement(0).await.unwrap().len(), 1);
}
