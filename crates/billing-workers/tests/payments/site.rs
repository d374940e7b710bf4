//! Which gateways a site has, and what happens when a card is of another.

use std::sync::Arc;
use std::time::Duration;

use billing::gateway::{CallError, Charge, Gateway as _, Gateways};
use billing::ids::PaymentId;
use billing_workers::gateways::{self, GatewayConfig, GatewayError, HOUSE, House, SIM, Secret};
use gateway_sim::GatewaySim;
use outbox::Act;
use testkit::until;

use crate::hand::Hand;
use crate::world::{PATIENCE, World, usd};

fn config(folder: &tempfile::TempDir) -> GatewayConfig {
    GatewayConfig {
        url: None,
        secret: None,
        timeout: Duration::from_secs(5),
        profile: gateway_sim::Profile::DEFAULT,
        webhook_url: None,
        simulator_dir: folder.path().join("gateway"),
    }
}

fn charge() -> Charge {
    Charge {
        payment: PaymentId::new(),
        token: "tok_approve".to_owned(),
        money: usd(1201),
        description: "INV-000001".to_owned(),
    }
}

#[tokio::test]
async fn with_nothing_configured_all_programs_of_a_site_share_its_simulator() {
    let folder = tempfile::tempdir().unwrap();
    let first = gateways::open(&config(&folder)).await.unwrap();
    let second = gateways::open(&config(&folder)).await.unwrap();
    let charge = charge();

    let names: Vec<&str> = first.gateways().names().collect();
    let charged = first.gateways().get(SIM).unwrap().charge(&charge).await;
    let found = second
        .gateways()
        .get(SIM)
        .unwrap()
        .look_up(charge.payment)
        .await;

    assert_eq!(names, [SIM]);
    assert_eq!(found.unwrap(), Some(charged.unwrap()));
    first.close().await;
    second.close().await;
}

#[tokio::test]
async fn a_site_with_a_gateway_has_no_simulator() {
    let folder = tempfile::tempdir().unwrap();
    let url = Some("https://gateway.example".to_owned());
    let config = GatewayConfig {
        url,
        ..config(&folder)
    };

    let open = gateways::open(&config).await.unwrap();

    let names: Vec<&str> = open.gateways().names().collect();
    assert_eq!(names, [HOUSE]);
    assert!(!config.simulator_dir.exists());
}

#[tokio::test]
async fn what_cannot_be_used_is_the_callers_mistake_and_says_what_to_set() {
    let folder = tempfile::tempdir().unwrap();
    let unsigned = GatewayConfig {
        webhook_url: Some("http://127.0.0.1:8080/webhooks".to_owned()),
        ..config(&folder)
    };
    let nowhere = GatewayConfig {
        url: Some("gateway.example".to_owned()),
        secret: Secret::new("whsec"),
        ..config(&folder)
    };

    let unsigned: GatewayError = gateways::open(&unsigned).await.unwrap_err();
    let nowhere: GatewayError = gateways::open(&nowhere).await.unwrap_err();

    assert!(unsigned.is_bad_input() && nowhere.is_bad_input());
    assert!(unsigned.to_string().contains("BILLING_GATEWAY_SECRET"));
    assert!(nowhere.to_string().contains("BILLING_GATEWAY_URL"));
}

/// The address of the successor is another one: it listens on another interface.
#[tokio::test]
async fn a_simulator_that_moved_is_found_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let first = GatewaySim::at(folder.path()).start().await.unwrap();
    let elsewhere = "127.0.0.2:0".parse().unwrap();
    let second = GatewaySim::at(folder.path()).listen(elsewhere);
    let second = second.start_or_join().await.unwrap();
    let house = House::of_simulator(second.address());
    let naive = House::at(&second.url()).unwrap();
    let charge = charge();
    let charged = house.charge(&charge).await.unwrap();

    first.stop().await;
    until("the other to go on", PATIENCE, async || {
        second.is_ours().then_some(())
    })
    .await
    .unwrap();

    assert_eq!(house.look_up(charge.payment).await, Ok(Some(charged)));
    let lost = naive.look_up(charge.payment).await;
    assert!(matches!(lost, Err(CallError::NotSent(_))), "{lost:?}");
}

#[tokio::test]
async fn a_card_of_a_gateway_that_is_not_there_waits_for_it() {
    let world = Arc::new(World::open().await);
    let customer = world.billed_one("tok_approve").await;
    let without = Hand::with(&world, Gateways::default().with(HOUSE, world.gate.clone()));
    let event = without.news().await.remove(0);

    let call = without.call(&event).await;
    let Act::Retry { error, after } = without.act(&call).await else {
        panic!("it was called");
    };

    assert!(
        error.contains(r#""sim""#) && error.contains("house"),
        "{error}"
    );
    assert!(after.is_some());
    assert_eq!(world.attempts(&customer).await, "created");
    Hand::of(&world).handle(&event).await;
    assert_eq!(world.attempts(&customer).await, "succeeded");
    world.agree().await;
}
