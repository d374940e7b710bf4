//! What a reader of certain topics sees, and what it does not look at.

use outbox::operation::Start;
use outbox::{ConsumerSpec, Lane, Tail};
use uuid::Uuid;

use crate::host::Host;
use crate::log;
use crate::scene::{Scene, impatient, keys, run, until};
use crate::schedule::Dice;
use crate::shop::Notebook;

const TOPICS: [&str; 3] = ["order.placed", "order.paid", "order.sent"];

async fn tail(scene: &Scene, topic: &str) -> Tail {
    let from = Some(Start::Tick(1));
    let tail = Tail::from(scene.pool.clone(), from).await.unwrap();
    tail.of_topics(vec![topic.to_owned()])
}

async fn read(mut tail: Tail) -> Vec<Uuid> {
    let mut read = Vec::new();
    while let Some(events) = tail.next().await.unwrap() {
        read.extend(events.iter().map(|event| event.event_id));
    }
    read
}

/// Ticks of one topic or several, of a few events or more than a page, some of which do not say
/// what they hold.
#[tokio::test]
async fn of_each_topic_all_events_are_read_however_ticks_mix_them() {
    let scene = Scene::new().await;
    let mut conn = scene.connection().await;
    let mut dice = Dice::seeded(27);
    let mut appended = [const { Vec::new() }; TOPICS.len()];
    for tick in 0..60 {
        let topics = 1 + dice.below(TOPICS.len());
        let events = if tick == 30 {
            1_500
        } else {
            1 + dice.below(40)
        };
        let first = dice.below(TOPICS.len());
        run(&mut conn, "begin").await;
        for _ in 0..events {
            let topic = (first + dice.below(topics)) % TOPICS.len();
            let lane = if dice.below(4) == 0 {
                Lane::Interactive
            } else {
                Lane::Bulk
            };
            let event = log::append_to(&mut conn, lane, keys(1)[0], TOPICS[topic]).await;
            appended[topic].push(event);
        }
        run(&mut conn, "commit").await;
        scene.publish().await;
    }
    scene
        .sql("update outbox.tick set topics = null where n % 7 = 0")
        .await;

    for (topic, appended) in TOPICS.iter().zip(appended) {
        assert_eq!(read(tail(&scene, topic).await).await, appended, "{topic}");
    }
}

#[tokio::test]
async fn ticks_without_a_wanted_topic_are_gone_past_unread() {
    let scene = Scene::new().await;
    for _ in 0..3 {
        scene.order(keys(1)[0]).await;
        scene.publish().await;
    }
    let mut holder = scene.connection().await;
    run(
        &mut holder,
        "begin; lock table outbox.event in access exclusive mode",
    )
    .await;

    assert!(read(tail(&scene, "order.sent").await).await.is_empty());

    // Control: where a tick does not say what it holds, its events are looked at.
    scene
        .sql("update outbox.tick set topics = null where n = 2")
        .await;
    let reading = tokio::spawn(read(tail(&scene, "order.sent").await));
    until("the reader waits or has ended", async || {
        let waiting = "select count(*) from shop.session where wait_event_type = 'Lock'";
        reading.is_finished() || scene.count(waiting).await == 1
    })
    .await;
    assert!(!reading.is_finished());
    run(&mut holder, "commit").await;
    assert!(reading.await.unwrap().is_empty());
}

/// Whoever reads a page first reads it for both.
#[tokio::test]
async fn consumers_of_a_process_get_their_topics_whoever_reads_first() {
    let scene = Scene::new().await;
    let _worker = Host::worker(&scene, "worker", |worker| {
        for (consumer, topics) in [("one", &["order.paid"]), ("two", &["order.sent"])] {
            let spec = ConsumerSpec {
                topics,
                ..impatient(consumer, 1)
            };
            worker.transactional(spec, Notebook::of(consumer));
        }
    })
    .await;
    let mut conn = scene.connection().await;
    for number in 1..=25 {
        for topic in ["order.paid", "order.sent"] {
            log::append_to(&mut conn, Lane::Interactive, keys(1)[0], topic).await;
            scene.publish().await;
        }
        scene.until_handled("one", number).await;
        scene.until_handled("two", number).await;
    }
}
