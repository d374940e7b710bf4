//! Many refunds at once, as the engine runs them.

use billing_workers::Refunds;
use outbox::{ConsumerSpec, Relay, RunError, Worker, WorkerConfig};
use testkit::until;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::till::{Till, wanted};
use crate::world::{PATIENCE, World, usd};

fn spec() -> ConsumerSpec {
    let specs = billing_workers::specs();
    let mut specs = specs.into_iter();
    specs.find(|spec| spec.name == "refunds").unwrap()
}

/// Runs until its handle is dropped, which is as abrupt as a kill.
fn work(world: &World) -> AbortOnDropHandle<Result<(), RunError>> {
    let mut worker = Worker::new(world.outbox.clone(), WorkerConfig::default());
    worker.external(spec(), Refunds::new(world.gateways()));
    AbortOnDropHandle::new(tokio::spawn(worker.run(CancellationToken::new())))
}

fn publish(world: &World) -> AbortOnDropHandle<Result<(), RunError>> {
    let relay = Relay::new(world.outbox.clone()).run(CancellationToken::new());
    AbortOnDropHandle::new(tokio::spawn(relay))
}

async fn wait_until_settled(world: &World, count: usize) {
    until("refunds to end", PATIENCE, async || {
        let ended = world
            .count("billing.refund where settled_at is not null")
            .await;
        (ended >= count).then_some(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn each_is_made_once_though_a_worker_dies_among_them() {
    let (till, paid) = Till::open(4).await;
    let _relay = publish(&till.world);
    for (_, payment) in &paid {
        for minor in [100, 200, 300] {
            till.request(wanted(*payment, usd(minor))).await.unwrap();
        }
    }

    let first = work(&till.world);
    wait_until_settled(&till.world, 3).await;
    drop(first);
    let _second = work(&till.world);
    wait_until_settled(&till.world, 12).await;

    let mut given = till.given_back().await;
    given.sort_unstable();
    assert_eq!(given, [[100; 4], [200; 4], [300; 4]].concat());
    till.agree().await;
}
