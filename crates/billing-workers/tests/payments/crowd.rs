//! Many payments at once, as the engine runs them: relay, workers, slow calls, a worker that dies.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use billing::gateway::{Charge, Gateway as _};
use billing::ids::PaymentId;
use billing_workers::Payments;
use futures::future::join_all;
use outbox::{
    Act, ConsumerSpec, Dedupe, Event, External, Failure, Load, Relay, RunError, UnitOfWork, Worker,
    WorkerConfig,
};
use testkit::until;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use crate::gate::Gate;
use crate::hand::Hand;
use crate::world::{Customer, PATIENCE, World, usd};

const TIMEOUT: Duration = Duration::from_secs(10);

fn spec() -> ConsumerSpec {
    let specs = billing_workers::specs();
    specs
        .into_iter()
        .find(|spec| spec.name == "payments")
        .unwrap()
}

fn payments(world: &World) -> Payments {
    Payments::new(world.outbox.clone(), world.gateways())
}

/// Runs a worker until its handle is dropped, which is as abrupt as a kill.
fn work<H: External>(
    world: &World,
    spec: ConsumerSpec,
    handler: H,
) -> AbortOnDropHandle<Result<(), RunError>> {
    let mut worker = Worker::new(world.outbox.clone(), WorkerConfig::default());
    worker.external(spec, handler);
    AbortOnDropHandle::new(tokio::spawn(worker.run(CancellationToken::new())))
}

fn publish(world: &World) -> AbortOnDropHandle<Result<(), RunError>> {
    let relay = Relay::new(world.outbox.clone()).run(CancellationToken::new());
    let relay: JoinHandle<_> = tokio::spawn(relay);
    AbortOnDropHandle::new(relay)
}

async fn wait_until_settled(world: &World, count: usize) {
    until("all payments to end", PATIENCE, async || {
        let ended = world
            .count("billing.payment where settled_at is not null")
            .await;
        (ended >= count).then_some(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn through_relay_and_worker_each_card_is_charged_once() {
    let world = World::with(|sim| sim, Duration::from_millis(700)).await;
    let tokens = [
        "tok_approve",
        "tok_timeout_charged",
        "tok_500_then_ok",
        "tok_busy_then_ok",
        "tok_slow_100ms",
    ];
    let customers = world.billed(&tokens).await;

    let _running = (publish(&world), work(&world, spec(), payments(&world)));
    wait_until_settled(&world, customers.len()).await;

    for (customer, token) in customers.iter().zip(tokens) {
        assert_eq!(world.attempts(customer).await, "succeeded", "{token}");
    }
    assert_eq!(world.statement().await.len(), customers.len());
    world.agree().await;
}

/// More calls are under way than there are connections to the database.
#[tokio::test]
async fn no_connection_is_held_over_a_call() {
    let connections = 10;
    let world = World::with(|sim| sim.latency(Duration::from_secs(1)), TIMEOUT).await;
    let customers = world.billed(&["tok_approve"; 40]).await;

    let _running = (publish(&world), work(&world, spec(), payments(&world)));
    wait_until_settled(&world, customers.len()).await;

    let most = world.gate.most.load(Ordering::SeqCst);
    assert!(most > connections, "{most} calls at once");
    world.agree().await;
}

/// Control: who holds one waits for the others.
#[tokio::test]
async fn who_holds_a_connection_makes_as_many_calls_as_there_are_connections() {
    let world = World::with(|sim| sim.latency(Duration::from_millis(200)), TIMEOUT).await;
    let connections = world.pool().options().get_max_connections();

    let calls = (0..40).map(|_| async {
        let _held = world.pool().acquire().await.unwrap();
        world.gate.charge(&new_charge()).await.unwrap();
    });
    join_all(calls).await;

    let most = u32::try_from(world.gate.most.load(Ordering::SeqCst)).unwrap();
    assert!(most <= connections, "{most} calls at once");
}

fn new_charge() -> Charge {
    Charge {
        payment: PaymentId::new(),
        token: "tok_approve".to_owned(),
        money: usd(1201),
        description: "INV-000001".to_owned(),
    }
}

/// A departure's instant is that of its transaction.
#[tokio::test]
async fn attempts_that_leave_at_the_same_time_leave_together() {
    let world = Arc::new(World::with(|sim| sim, TIMEOUT).await);
    world.billed(&["tok_approve"; 60]).await;
    let hand = Hand::of(&world);
    let news = hand.news().await;
    let (together, alone) = news.split_at(50);
    let departures = async || {
        world
            .ask("select count(distinct sent_at) from billing.payment")
            .await
    };

    let loads = hand.load_all(together).await;
    let acts = loads.into_iter().map(|load| async {
        let Load::Call(call) = load else {
            panic!("no call");
        };
        let Act::Answer(answer) = hand.act(&call).await else {
            panic!("no answer");
        };
        hand.settle(call, answer).await;
    });
    join_all(acts).await;
    let of_fifty: usize = departures().await.parse().unwrap();
    for event in alone {
        hand.handle(event).await;
    }

    assert!(of_fifty <= 5, "{of_fifty} transactions");
    let of_all: usize = departures().await.parse().unwrap();
    assert_eq!(of_all - of_fifty, 10, "control: one after the other");
    world.agree().await;
}

const SLOW: &str = "tok_slow_5000ms";

/// Three slow cards and nine others, each charged by a worker of this spec. Whether all others had
/// their money before the first slow one.
async fn the_others_do_not_wait(spec: ConsumerSpec) -> bool {
    let world = World::with(|sim| sim, TIMEOUT).await;
    let mut tokens = vec![SLOW; 3];
    tokens.extend(["tok_approve"; 9]);
    let customers = world.billed(&tokens).await;

    let _running = (publish(&world), work(&world, spec, payments(&world)));
    wait_until_settled(&world, customers.len()).await;

    assert_eq!(world.statement().await.len(), customers.len());
    world.agree().await;
    let ahead = format!(
        "select max(settled_at) filter (where token <> '{SLOW}')
            < min(settled_at) filter (where token = '{SLOW}')
        from billing.payment join billing.payment_method using (payment_method_id)"
    );
    world.ask(&ahead).await == "true"
}

#[tokio::test]
async fn a_slow_call_holds_nobody_up_and_is_not_made_twice() {
    let patience = Duration::from_millis(100);

    assert!(the_others_do_not_wait(ConsumerSpec { patience, ..spec() }).await);
}

/// Control: one call after the other.
#[tokio::test]
async fn without_company_everybody_waits_for_the_slow_one() {
    let alone = ConsumerSpec {
        concurrency: 1,
        patience: Duration::from_secs(30),
        ..spec()
    };

    assert!(!the_others_do_not_wait(alone).await);
}

/// Two workers share the shards; the first dies in the middle of its calls.
async fn survive_a_death<H: External>(world: &World, handler: impl Fn() -> H) -> Vec<Customer> {
    let tokens: Vec<String> = (0..80).map(slower).collect();
    let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
    let customers = world.billed(&tokens).await;
    let _relay = publish(world);
    let first = work(world, spec(), handler());
    answered(world, 10).await;
    let _second = work(world, spec(), handler());
    answered(world, 25).await;
    drop(first);
    wait_until_handled(world).await;
    customers
}

/// A card that is charged at once; the later its number, the later comes the answer.
fn slower(n: usize) -> String {
    format!("tok_slow_{}ms", 100 + 40 * n)
}

/// Waits for so many answers, while others that were charged have none yet.
async fn answered(world: &World, count: usize) {
    until("some answers", PATIENCE, async || {
        let under_way = world.gate.charging.load(Ordering::SeqCst);
        let charged = world.statement().await.len();
        (under_way > 0 && charged >= under_way + count).then_some(())
    })
    .await
    .unwrap();
}

async fn wait_until_handled(world: &World) {
    until("every event to be handled", PATIENCE, async || {
        let pending = outbox::pending(world.pool()).await.unwrap();
        let backlog = outbox::backlog(world.pool(), spec().name).await.unwrap();
        let rests = pending == 0 && !backlog.behind && backlog.due + backlog.waiting == 0;
        rests.then_some(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_worker_that_dies_over_its_calls_leaves_nothing_captured_and_unrecorded() {
    let world = World::with(|sim| sim, TIMEOUT).await;

    let customers = survive_a_death(&world, || payments(&world)).await;

    for customer in &customers {
        assert_eq!(world.attempts(customer).await, "succeeded");
    }
    assert_eq!(world.statement().await.len(), customers.len());
    world.agree().await;
}

/// Control: a handler that makes a key for each call, and writes down what it did afterwards.
#[tokio::test]
async fn a_key_for_each_call_charges_again_after_a_death() {
    let world = World::with(|sim| sim, TIMEOUT).await;
    world
        .run("create table naive (account_id uuid primary key)")
        .await;

    let naive = || Naive(Arc::clone(&world.gate), AtomicUsize::new(0));
    let customers = survive_a_death(&world, naive).await;

    assert!(world.statement().await.len() > customers.len());
}

struct Naive(Arc<Gate>, AtomicUsize);

impl External for Naive {
    type Intent = Uuid;
    type Answer = ();

    const DEDUPE: Dedupe = Dedupe::NaturalKey;

    async fn load(
        &self,
        tx: &mut UnitOfWork,
        events: &[Event],
    ) -> Result<Vec<Load<Uuid>>, Failure> {
        let done = sqlx::query_scalar("select account_id from naive");
        let done: Vec<Uuid> = done.fetch_all(&mut **tx).await?;
        let load = |event: &Event| match done.contains(&event.key) {
            true => Load::Recorded,
            false => Load::Call(event.key),
        };
        Ok(events.iter().map(load).collect())
    }

    async fn act(&self, _: &Uuid) -> Act<()> {
        let token = slower(self.1.fetch_add(1, Ordering::SeqCst) % 80);
        let charge = Charge {
            token,
            ..new_charge()
        };
        self.0.charge(&charge).await.unwrap();
        Act::Answer(())
    }

    async fn settle(&self, tx: &mut UnitOfWork, answers: Vec<(Uuid, ())>) -> Result<(), Failure> {
        for (account, ()) in answers {
            let done = sqlx::query("insert into naive values ($1) on conflict do nothing");
            done.bind(account).execute(&mut **tx).await?;
        }
        Ok(())
    }
}
