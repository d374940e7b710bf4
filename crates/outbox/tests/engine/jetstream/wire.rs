//! What other teams' services see: messages, and consumers of their own in the server.

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::consumer::pull::Config;
use chrono::{DateTime, Utc};
use futures::StreamExt as _;

use super::*;

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[tokio::test]
async fn a_message_is_a_cloud_event_in_binary_mode() {
    let (scene, nats) = (Scene::new().await, Nats::start().await);
    let mut publisher = publisher(&scene, &nats).await;
    let key = Uuid::from_u128(7);
    let origin = Origin {
        traceparent: Some(TRACE.to_owned()),
        ..Origin::of("customer")
    };
    scene.orders(&[key], origin).await;
    publish(&scene, &mut publisher).await;
    let log = log::read(&scene.pool, Lane::Interactive, 100).await;
    let event = &log[0];

    let message = nats.message(PREFIX, 1).await;

    let header = |name: &str| message.headers.get(name).unwrap().as_str().to_owned();
    let sequence = format!("{:019}.{:019}", event.point.tick, event.point.id);
    for (name, value) in [
        ("ce-specversion", "1.0"),
        ("ce-id", &event.event_id.to_string()),
        ("ce-type", "order.placed"),
        ("ce-source", "/shop"),
        ("ce-subject", &key.to_string()),
        ("ce-dataschema", "urn:outbox:order.placed:1"),
        ("ce-partitionkey", &key.to_string()),
        ("ce-sequence", &sequence),
        ("traceparent", TRACE),
        ("content-type", "application/json"),
    ] {
        assert_eq!(header(name), value, "{name}");
    }
    let time: DateTime<Utc> = header("ce-time").parse().unwrap();
    assert_eq!(time, event.at);
    assert_eq!(&message.payload[..], br#"{"item":"book"}"#);
}

#[tokio::test]
async fn a_consumer_that_somebody_keeps_in_the_server_and_deletes_disturbs_nobody() {
    let (scene, nats) = (Scene::new().await, Nats::start().await);
    let mut publisher = publisher(&scene, &nats).await;
    let worker = reader(&scene, &nats, "notes").await;
    order(&scene, 10).await;
    publish(&scene, &mut publisher).await;
    scene.until_handled("notes", 10).await;
    // Our own readers keep nothing there.
    let kept = async || nats.stream(PREFIX).await.cached_info().state.consumer_count;
    assert_eq!(kept().await, 0);

    let theirs = Config {
        durable_name: Some("audit".to_owned()),
        ..Config::default()
    };
    let consumer: PullConsumer = nats
        .stream(PREFIX)
        .await
        .create_consumer(theirs)
        .await
        .unwrap();
    let messages = consumer.fetch().max_messages(4).messages().await.unwrap();
    let seen = messages.then(async |message| message.unwrap().ack().await.unwrap());
    assert_eq!(seen.count().await, 4);
    assert_eq!(kept().await, 1);
    order(&scene, 10).await;
    publish(&scene, &mut publisher).await;
    nats.stream(PREFIX)
        .await
        .delete_consumer("audit")
        .await
        .unwrap();
    order(&scene, 10).await;
    publish(&scene, &mut publisher).await;

    assert_stream_is_log(&scene, &nats).await;
    assert_handled_once(&scene, "notes").await;
    assert_eq!(kept().await, 0);
    worker.stop().await;
}
