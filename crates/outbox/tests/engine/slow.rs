//! External handlers when the other side is slow, or down.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use outbox::{Act, ConsumerSpec, Origin};
use uuid::Uuid;

use crate::host::Host;
use crate::scene::{Scene, impatient, keys_of_one_shard, until};
use crate::shop::{Carrier, Gate};

fn hasty() -> ConsumerSpec {
    ConsumerSpec {
        patience: Duration::from_millis(200),
        ..impatient("carrier", 3)
    }
}

const RUNNING: &str = "select count(*) from outbox.delivery where state = 'running'";
const DELIVERIES: &str = "select count(*) from outbox.delivery";
const ANSWERED: &str = "select count(*) from shop.parcel where answer is not null";

fn sent() -> Act<String> {
    Act::Answer("sent".to_owned())
}

/// Whose calls for one key wait at a gate.
fn held_up_by(slow: Uuid, gate: &Gate) -> Carrier {
    let gate = gate.clone();
    Carrier::with(move |event| {
        let gate = gate.clone();
        async move {
            if event.key == slow {
                gate.pass(event.event_id).await;
            }
            sent()
        }
    })
}

#[tokio::test]
async fn a_slow_call_goes_on_alone_while_others_pass_and_its_late_answer_is_recorded() {
    let scene = Scene::new().await;
    let (gate, keys) = (Gate::closed(), keys_of_one_shard(5));
    let slow = keys[2];
    let carrier = held_up_by(slow, &gate);
    let events = scene.orders(&keys, Origin::of("customer")).await;
    scene.publish().await;

    let _worker = Host::worker(&scene, "worker", |w| w.external(hasty(), carrier)).await;
    scene.until_count(RUNNING, 1).await;
    let behind = scene.order(slow).await;
    let beside = scene.order(keys[0]).await;
    scene.publish().await;
    scene.until_handled("carrier", 5).await;
    scene.until_count(DELIVERIES, 2).await;
    assert_eq!(
        scene.handled_by("carrier").await.last(),
        Some(&beside),
        "its key waits behind it"
    );
    gate.open();

    scene.until_handled("carrier", 7).await;
    assert_eq!(scene.handled_by("carrier").await[5..], [events[2], behind]);
    scene.until_count(DELIVERIES, 0).await;
    assert_eq!(
        gate.arrived(),
        [events[2], behind],
        "each was called for once"
    );
}

/// With all that patience, and a gate that opens only afterwards, the others would wait for it.
#[tokio::test]
async fn one_slow_call_among_many_quick_ones_is_not_waited_for() {
    let scene = Scene::new().await;
    let (gate, keys) = (Gate::closed(), keys_of_one_shard(40));
    let carrier = held_up_by(keys[2], &gate);
    scene.orders(&keys, Origin::of("customer")).await;
    scene.publish().await;
    let spec = ConsumerSpec {
        patience: Duration::from_secs(3_600),
        concurrency: 40,
        ..impatient("carrier", 3)
    };

    let _worker = Host::worker(&scene, "worker", |w| w.external(spec, carrier)).await;

    scene.until_handled("carrier", 39).await;
    assert_eq!(scene.count(RUNNING).await, 1);
    gate.open();
    scene.until_handled("carrier", 40).await;
    scene.until_count(DELIVERIES, 0).await;
}

#[tokio::test]
async fn a_slow_call_whose_worker_died_is_made_again_after_its_deadline() {
    let scene = Scene::new().await;
    let (gate, again) = (Gate::closed(), Gate::closed());
    again.open();
    let start = |name, gate: &Gate| {
        let gate = gate.clone();
        let carrier = Carrier::with(move |event| {
            let gate = gate.clone();
            async move {
                gate.pass(event.event_id).await;
                sent()
            }
        });
        Host::worker(&scene, name, |w| w.external(hasty(), carrier))
    };
    let first = start("first", &gate).await;
    let event = scene.order(keys_of_one_shard(1)[0]).await;
    scene.publish().await;
    scene.until_count(RUNNING, 1).await;

    first.kill();
    scene.forget_members().await;
    scene
        .sql("update outbox.delivery set deadline = now() - interval '1 second'")
        .await;
    let _second = start("second", &again).await;

    scene.until_handled("carrier", 1).await;
    assert_eq!(again.arrived(), [event]);
    scene.until_count(DELIVERIES, 0).await;
}

/// Whoever looks for what is due finds the slow call, too, and knows that it goes on.
#[tokio::test]
async fn a_slow_call_is_not_made_again_while_it_goes_on() {
    let scene = Scene::new().await;
    let (gate, keys) = (Gate::closed(), keys_of_one_shard(2));
    let (at, slow, refused) = (gate.clone(), keys[0], AtomicUsize::new(0));
    let carrier = Carrier::with(move |event| {
        let at = at.clone();
        let refuses = event.key != slow && refused.fetch_add(1, Ordering::Relaxed) == 0;
        async move {
            if event.key == slow {
                at.pass(event.event_id).await;
            }
            if refuses {
                let (error, after) = ("not now".to_owned(), None);
                return Act::Retry { error, after };
            }
            sent()
        }
    });
    let event = scene.order(slow).await;
    scene.publish().await;
    let _worker = Host::worker(&scene, "worker", |w| w.external(hasty(), carrier)).await;
    scene.until_count(RUNNING, 1).await;

    let retried = scene.order(keys[1]).await;
    scene.publish().await;
    scene.until_handled("carrier", 1).await;
    assert_eq!(scene.handled_by("carrier").await, [retried]);
    gate.open();

    scene.until_handled("carrier", 2).await;
    assert_eq!(gate.arrived(), [event]);
}

/// Neither the answer of a call nor its failure can be written at first.
const UNWRITTEN: &str = "
    create sequence shop.ends;
    create function shop.refuse() returns trigger language plpgsql as $$
    begin
        if nextval('shop.ends') <= 2 then
            raise 'not these';
        end if;
        return coalesce(new, old);
    end $$;
    create trigger refuse before update or delete on outbox.delivery for each row
    when (old.state = 'running') execute function shop.refuse()";

#[tokio::test]
async fn a_slow_call_whose_end_was_not_written_is_made_again_soon() {
    let scene = Scene::new().await;
    sqlx::raw_sql(UNWRITTEN).execute(&scene.pool).await.unwrap();
    let gate = Gate::closed();
    let at = gate.clone();
    let carrier = Carrier::with(move |event| {
        let at = at.clone();
        async move {
            at.pass(event.event_id).await;
            sent()
        }
    });
    let event = scene.order(keys_of_one_shard(1)[0]).await;
    scene.publish().await;

    let _worker = Host::worker(&scene, "worker", |w| w.external(hasty(), carrier)).await;
    scene.until_count(RUNNING, 1).await;
    gate.open();

    scene.until_handled("carrier", 1).await;
    assert_eq!(gate.arrived(), [event, event]);
    scene.until_count(DELIVERIES, 0).await;
}

/// Quick calls, but many: what waits for its turn is not slow.
#[tokio::test]
async fn a_long_batch_of_quick_calls_writes_no_deliveries() {
    let scene = Scene::new().await;
    let carrier = Carrier::with(|_| async {
        outbox::clock::pause(Duration::from_millis(30)).await;
        sent()
    });
    scene
        .orders(&keys_of_one_shard(100), Origin::of("customer"))
        .await;
    scene.publish().await;

    let spec = ConsumerSpec {
        concurrency: 4,
        ..hasty()
    };
    let _worker = Host::worker(&scene, "worker", |w| w.external(spec, carrier)).await;
    let mut parked = 0;
    until("all are sent", async || {
        parked = parked.max(scene.count(DELIVERIES).await);
        scene.count(ANSWERED).await == 100
    })
    .await;

    assert_eq!(parked, 0);
}

#[tokio::test]
async fn trouble_of_the_other_side_pauses_the_consumer_and_blames_no_event() {
    let scene = Scene::new().await;
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let carrier = Carrier::with(move |_| {
        let down = counted.fetch_add(1, Ordering::Relaxed) < 40;
        let after = Some(Duration::from_millis(30));
        let error = "503".to_owned();
        std::future::ready(if down {
            Act::Unavailable { error, after }
        } else {
            sent()
        })
    });
    scene
        .orders(&keys_of_one_shard(10), Origin::of("customer"))
        .await;
    scene.publish().await;

    let spec = impatient("carrier", 1);
    let _worker = Host::worker(&scene, "worker", |w| w.external(spec, carrier)).await;
    let mut parked = 0;
    until("all are sent", async || {
        parked = parked.max(scene.count(DELIVERIES).await);
        scene.count(ANSWERED).await == 10
    })
    .await;

    assert_eq!(parked, 0);
    assert_eq!(outbox::handled(&scene.pool).await.unwrap(), 10);
}

#[tokio::test]
async fn a_consumer_that_waits_for_the_other_side_holds_its_shard_from_nobody() {
    let scene = Scene::new().await;
    let down = Carrier::with(|_| async {
        let (error, after) = ("503".to_owned(), Some(Duration::from_secs(3_600)));
        Act::Unavailable { error, after }
    });
    let spec = || impatient("carrier", 1);
    let first = Host::worker(&scene, "first", |w| w.external(spec(), down)).await;
    scene.order(keys_of_one_shard(1)[0]).await;
    scene.publish().await;
    scene
        .until_count("select count(*) from shop.parcel", 1)
        .await;

    first.stop().await;
    let up = Carrier::with(|_| async { sent() });
    let _second = Host::worker(&scene, "second", |w| w.external(spec(), up)).await;

    scene.until_handled("carrier", 1).await;
}

/// Counted as a failed attempt, the trouble of the other side would become a dead letter.
#[tokio::test]
async fn a_slow_call_that_ends_in_trouble_of_the_other_side_is_no_attempt() {
    let scene = Scene::new().await;
    let gate = Gate::closed();
    let (at, calls) = (gate.clone(), Arc::new(AtomicUsize::new(0)));
    let carrier = Carrier::with(move |event| {
        let (at, first) = (at.clone(), calls.fetch_add(1, Ordering::Relaxed) == 0);
        async move {
            at.pass(event.event_id).await;
            let (error, after) = ("504".to_owned(), Some(Duration::from_millis(30)));
            if first {
                Act::Unavailable { error, after }
            } else {
                sent()
            }
        }
    });
    let spec = ConsumerSpec {
        patience: Duration::from_millis(100),
        ..impatient("carrier", 1)
    };
    let _worker = Host::worker(&scene, "worker", |w| w.external(spec, carrier)).await;
    scene.order(keys_of_one_shard(1)[0]).await;
    scene.publish().await;
    scene.until_count(RUNNING, 1).await;
    gate.open();

    scene.until_handled("carrier", 1).await;
    scene.until_count(DELIVERIES, 0).await;
}

/// Handled one by one, the first is passed; then the other side goes down.
#[tokio::test]
async fn what_was_passed_before_the_other_side_went_down_is_not_passed_again() {
    let scene = Scene::new().await;
    let keys = keys_of_one_shard(3);
    let (poison, second) = (keys[2], keys[1]);
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let carrier = Carrier::with(move |event| {
        let down = event.key == second && counted.fetch_add(1, Ordering::Relaxed) < 3;
        let (error, after) = ("503".to_owned(), Some(Duration::from_millis(30)));
        std::future::ready(if down {
            Act::Unavailable { error, after }
        } else {
            sent()
        })
    })
    .that_cannot_load(poison);
    scene.orders(&keys, Origin::of("customer")).await;
    scene.publish().await;

    let spec = impatient("carrier", 1);
    let _worker = Host::worker(&scene, "worker", |w| w.external(spec, carrier)).await;

    scene.until_handled("carrier", 2).await;
    scene.until_dead(1).await;
    assert_eq!(outbox::handled(&scene.pool).await.unwrap(), 3);
}

#[tokio::test]
async fn failed_calls_are_retried_and_a_panic_is_one() {
    let scene = Scene::new().await;
    let calls = Arc::new(AtomicUsize::new(0));
    let carrier = Carrier::with(move |_| {
        let call = calls.fetch_add(1, Ordering::Relaxed);
        async move {
            assert!(call != 1, "the second call panics");
            let error = "refused".to_owned();
            if call == 0 {
                Act::Retry { error, after: None }
            } else {
                sent()
            }
        }
    });
    scene.order(keys_of_one_shard(1)[0]).await;
    scene.publish().await;

    let _worker = Host::worker(&scene, "worker", |w| {
        w.external(impatient("carrier", 3), carrier)
    })
    .await;

    scene.until_handled("carrier", 1).await;
    scene.until_count(DELIVERIES, 0).await;
}
