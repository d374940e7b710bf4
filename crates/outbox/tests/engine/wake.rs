//! Wake-up: an empty datagram says "look now". A lost one costs one poll.

use std::time::{Duration, Instant};

use outbox::{Origin, WorkerConfig};
use tokio_util::sync::CancellationToken;

use crate::host::Host;
use crate::scene::{Scene, impatient, keys, placed};
use crate::shop::Notebook;

fn polling(poll: Duration) -> WorkerConfig {
    WorkerConfig {
        poll,
        ..WorkerConfig::default()
    }
}

async fn start(scene: &Scene, poll: Duration) -> (Host, Host) {
    let notebook = Notebook::of("notebook");
    let relay = Host::relay(scene, "relay").await;
    let worker = Host::worker_with(scene, "worker", polling(poll), |worker| {
        worker.transactional(impatient("notebook", 1), notebook);
    });
    (relay, worker.await)
}

/// How long an order takes to be handled.
async fn time_of_one(scene: &Scene, nth: usize) -> Duration {
    let started = Instant::now();
    scene.order(keys(1)[0]).await;
    scene.until_handled("notebook", nth).await;
    started.elapsed()
}

#[tokio::test]
async fn a_worker_that_hardly_polls_hears_of_each_tick_at_once() {
    let scene = Scene::new().await;
    let (_relay, _worker) = start(&scene, Duration::from_secs(60)).await;
    // The relay reads once a second where the workers are.
    time_of_one(&scene, 1).await;
    outbox::clock::pause(Duration::from_millis(1_100)).await;
    time_of_one(&scene, 2).await;

    let mut times = Vec::new();
    for nth in 3..=20 {
        times.push(time_of_one(&scene, nth).await);
    }

    times.sort_unstable();
    println!(
        "commit to handled: {:.1?} at best, half within {:.1?}",
        times[0], times[9]
    );
    assert!(
        times[17] < Duration::from_secs(10),
        "the slowest took {:?}",
        times[17]
    );
}

/// A relay that is not told looks at its plans once a second.
#[tokio::test]
async fn a_relay_is_told_of_what_is_planned_for_soon() {
    let scene = Scene::new().await;
    let _relay = Host::relay(&scene, "relay").await;
    let began = Instant::now();

    for nth in 1..=20 {
        let mut tx = scene.outbox.begin(Origin::of("customer")).await.unwrap();
        let locked = tx.locked(keys(1)[0]);
        tx.append_at(locked, outbox::clock::now(), placed());
        tx.commit().await.unwrap();
        let fired = "select count(*) from outbox.event";
        scene.until_count(fired, nth).await;
    }

    let took = began.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?} for 20, in turn");
}

/// Hosts of a network, as far as one machine can have them: loopback has more than one address.
const HOSTS: [&str; 2] = ["127.0.0.2", "127.0.0.3"];

#[tokio::test]
async fn relay_and_worker_on_hosts_of_their_own_hear_each_other() {
    let scene = Scene::new().await;
    let [relay_host, worker_host] = HOSTS.map(|host| host.parse().unwrap());
    let shutdown = CancellationToken::new();
    let relay = scene.relay().heard_at(relay_host).run(shutdown.clone());
    let relay = tokio::spawn(relay);
    let config = WorkerConfig {
        host: worker_host,
        ..polling(Duration::from_secs(60))
    };
    let worker = Host::worker_with(&scene, "worker", config, |worker| {
        worker.transactional(impatient("notebook", 1), Notebook::of("notebook"));
    })
    .await;
    let told = "select count(distinct address) from outbox.member
        where address like '127.0.0.2:%' or address like '127.0.0.3:%'";
    scene.until_count(told, 2).await;
    // Addresses are read once a second.
    time_of_one(&scene, 1).await;
    outbox::clock::pause(Duration::from_millis(1_100)).await;
    time_of_one(&scene, 2).await;

    for nth in 3..=6 {
        let time = time_of_one(&scene, nth).await;
        assert!(time < Duration::from_secs(10), "{time:?}");
    }

    worker.stop().await;
    shutdown.cancel();
    relay.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_lost_datagram_costs_one_poll_and_no_event() {
    let scene = Scene::new().await;
    sqlx::raw_sql(
        "create function shop.nowhere() returns trigger language plpgsql as
         $$ begin new.address = '127.0.0.1:9'; return new; end $$;
         create trigger nowhere before insert or update on outbox.member
         for each row execute function shop.nowhere()",
    )
    .execute(&scene.pool)
    .await
    .unwrap();
    let (_relay, _worker) = start(&scene, Duration::from_millis(200)).await;

    for nth in 1..=5 {
        let time = time_of_one(&scene, nth).await;
        assert!(time < Duration::from_secs(5), "{time:?}");
    }
}
