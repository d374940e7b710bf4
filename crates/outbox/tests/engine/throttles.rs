//! A throttle holds for all processes together, and a provider's "too many" is said to all.

use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use outbox::throttle::{TakeError, Throttle, Tokens};
use outbox::{Act, ConsumerSpec};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use crate::host::Host;
use crate::scene::{self, Scene, impatient, keys};
use crate::shop::Carrier;

const RATE: u32 = 200;
/// What a process of the fleet is told: the database, from when to when it calls (microseconds),
/// the throttle's name, and when the provider tells it to pause, for how long.
const ORDERS: &str = "OUTBOX_TEST_FLEET";

#[derive(serde::Serialize, serde::Deserialize)]
struct Orders {
    url: String,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
    throttle: String,
    pause: Option<(DateTime<Utc>, u64)>,
}

/// Not a test by itself: other tests start this program again with orders, and it is one process of
/// a fleet then. It prints the instants of its calls.
#[tokio::test]
async fn one_process_of_a_fleet() {
    let Ok(orders) = std::env::var(ORDERS) else {
        return;
    };
    let orders: Orders = serde_json::from_str(&orders).unwrap();
    let pool = scene::pool(&orders.url, "fleet", 4).await;
    let throttle = Throttle::per_second(orders.throttle.leak(), RATE);
    let tokens = Tokens::new(pool, throttle);
    let wait = (orders.from - outbox::clock::now()).to_std();
    outbox::clock::pause(wait.unwrap()).await;
    let until = orders.until;
    let calls = Arc::new(Mutex::new(Vec::new()));
    let mut callers = JoinSet::new();
    for _ in 0..16 {
        let (tokens, calls) = (tokens.clone(), Arc::clone(&calls));
        callers.spawn(async move {
            while outbox::clock::now() < until {
                let deadline = Instant::now() + Duration::from_secs(1);
                if tokens.take(deadline).await.is_ok() {
                    calls.lock().unwrap().push(outbox::clock::now());
                }
            }
        });
    }
    if let Some((at, ms)) = orders.pause {
        outbox::clock::pause((at - outbox::clock::now()).to_std().unwrap()).await;
        tokens.pause(Duration::from_millis(ms)).await.unwrap();
        println!("paused {}", outbox::clock::now().timestamp_micros());
    }
    callers.join_all().await;
    let calls = calls.lock().unwrap();
    let micros: Vec<_> = calls.iter().map(DateTime::timestamp_micros).collect();
    println!("calls {}", serde_json::to_string(&micros).unwrap());
}

fn start(orders: &Orders) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "throttles::one_process_of_a_fleet",
            "--exact",
            "--nocapture",
        ])
        .env(ORDERS, serde_json::to_string(orders).unwrap())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// Three processes that call as often as they may: their calls between start and end, and when one
/// of them had paused the throttle.
async fn fleet(
    scene: &Scene,
    seconds: i64,
    orders: impl Fn(usize, &mut Orders),
) -> (Vec<i64>, i64) {
    let from = outbox::clock::now() + TimeDelta::seconds(2);
    let until = from + TimeDelta::seconds(seconds);
    let mut children = Vec::new();
    for nth in 0..3 {
        let mut order = Orders {
            url: scene.url().to_owned(),
            from,
            until,
            throttle: "carrier".to_owned(),
            pause: None,
        };
        orders(nth, &mut order);
        children.push(start(&order));
    }
    let (mut all, mut paused) = (Vec::new(), 0);
    for child in children {
        let said = child.wait_with_output().await.unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        let word = |word| said.split(word).nth(1)?.lines().next();
        let calls: Vec<i64> = serde_json::from_str(word("calls ").unwrap()).unwrap();
        assert!(!calls.is_empty());
        all.extend(calls);
        paused = word("paused ").map_or(paused, |at| at.parse().unwrap());
    }
    let (from, until) = (from.timestamp_micros(), until.timestamp_micros());
    all.retain(|at| (from..until).contains(at));
    (all, paused)
}

#[tokio::test]
async fn three_processes_together_keep_a_rate_within_five_percent() {
    let scene = Scene::new().await;

    let calls = fleet(&scene, 10, |_, _| ()).await.0.len();

    println!("{calls} calls in 10 s at {RATE}/s");
    assert!((1_900..=2_100).contains(&calls), "{calls}");
}

/// The negative control: each process has a rate of its own.
#[tokio::test]
async fn three_processes_with_buckets_of_their_own_call_three_times_as_often() {
    let scene = Scene::new().await;

    let own = |nth: usize, orders: &mut Orders| orders.throttle = format!("carrier {nth}");
    let calls = fleet(&scene, 3, own).await.0.len();

    println!("{calls} calls in 3 s at {RATE}/s");
    assert!(calls > 1_200, "{calls}");
}

#[tokio::test]
async fn what_one_process_is_told_pauses_the_fleet() {
    let scene = Scene::new().await;
    let paused = outbox::clock::now() + TimeDelta::seconds(4);

    let (calls, from) = fleet(&scene, 6, |nth, orders| {
        orders.pause = (nth == 0).then_some((paused, 2_000));
    })
    .await;

    // What was leased before the pause is called for soon after it began.
    let after = |ms: i64| from + ms * 1_000;
    let within = |from, to| calls.iter().filter(|at| (from..to).contains(*at)).count();
    let (silent, spoken) = (
        within(after(500), after(1_900)),
        within(after(2_000), after(4_000)),
    );
    println!("{silent} calls in the pause, {spoken} in two seconds after it");
    assert_eq!(silent, 0);
    assert!(spoken > 0);
}

#[tokio::test]
async fn whoever_cannot_wait_for_the_end_of_a_pause_is_told_so_at_once() {
    let scene = Scene::new().await;
    let tokens = Tokens::new(scene.pool.clone(), Throttle::per_second("carrier", RATE));
    let soon = || Instant::now() + Duration::from_secs(5);
    tokens.take(soon()).await.unwrap();
    tokens.pause(Duration::from_secs(60)).await.unwrap();

    let refused = tokens.take(soon()).await.unwrap_err();

    let TakeError::NotInTime(wait) = refused else {
        panic!("{refused}");
    };
    assert!(wait > Duration::from_secs(50), "{wait:?}");
}

#[tokio::test]
async fn the_calls_of_a_consumer_keep_its_throttle() {
    let scene = Scene::new().await;
    let _relay = Host::relay(&scene, "relay").await;
    scene
        .orders(&keys(100), outbox::Origin::of("customer"))
        .await;
    let started = Instant::now();
    let worker = Host::worker(&scene, "worker", |worker| {
        let spec = ConsumerSpec {
            throttle: Some(Throttle::per_second("carrier", 50)),
            ..impatient("carrier", 1)
        };
        let carrier = Carrier::with(async |_| Act::Answer("sent".to_owned()));
        worker.external(spec, carrier);
    })
    .await;

    scene.until_handled("carrier", 100).await;

    let took = started.elapsed();
    println!("100 calls at 50/s took {took:.1?}");
    assert!(took > Duration::from_millis(1_900), "{took:?}");
    assert_eq!(scene.count("select count(*) from outbox.delivery").await, 0);
    worker.stop().await;
}

#[tokio::test]
async fn a_provider_that_says_too_many_to_one_consumer_pauses_its_throttle() {
    let scene = Scene::new().await;
    let _relay = Host::relay(&scene, "relay").await;
    scene.orders(&keys(1), outbox::Origin::of("customer")).await;
    let worker = Host::worker(&scene, "worker", |worker| {
        let spec = ConsumerSpec {
            throttle: Some(Throttle::per_second("carrier", 50)),
            ..impatient("carrier", 1)
        };
        let carrier = Carrier::with(async |_| Act::Unavailable {
            error: "429".to_owned(),
            after: Some(Duration::from_secs(60)),
        });
        worker.external(spec, carrier);
    })
    .await;

    let paused = "select count(*) from outbox.throttle
        where paused_until > clock_timestamp() + interval '30 seconds'";
    scene.until_count(paused, 1).await;
    worker.stop().await;
}
