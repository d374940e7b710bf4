//! What the chain is for: the same race without it.

use async_nats::HeaderMap;
use async_nats::jetstream;

use super::*;

async fn send(server: &jetstream::Context, id: &str, guard: Option<u64>) -> bool {
    let mut headers = HeaderMap::new();
    headers.insert("ce-id", id);
    if let Some(last) = guard {
        headers.insert("Nats-Expected-Last-Sequence", last.to_string().as_str());
    }
    let sent = server.publish_with_headers("naive.interactive.0", headers, "{}".into());
    sent.await.unwrap().await.is_ok()
}

async fn naive(nats: &Nats) -> jetstream::Context {
    let server = jetstream::new(nats.client().await);
    let config = jetstream::stream::Config {
        name: "naive_interactive".to_owned(),
        subjects: vec!["naive.>".to_owned()],
        ..Default::default()
    };
    server.create_stream(config).await.unwrap();
    server
}

#[tokio::test]
async fn without_a_chain_two_relays_publish_twice() {
    let (scene, nats) = (Scene::new().await, Nats::start().await);
    let server = naive(&nats).await;
    order(&scene, 3).await;
    scene.publish().await;

    for _relay in 0..2 {
        for id in log::ids(&scene.pool, 100).await {
            assert!(send(&server, &id.to_string(), None).await);
        }
    }

    assert_eq!(nats.ids("naive").await.len(), 6, "each event twice");
}

#[tokio::test]
async fn a_pipeline_of_expected_sequences_drops_an_event_and_takes_later_ones() {
    let (scene, nats) = (Scene::new().await, Nats::start().await);
    let server = naive(&nats).await;
    order(&scene, 3).await;
    scene.publish().await;
    let ids = log::ids(&scene.pool, 100).await;

    // A rival's message takes the second's place; the third finds the sequence that it expects.
    assert!(send(&server, &ids[0].to_string(), Some(0)).await);
    assert!(send(&server, &ids[0].to_string(), None).await);
    assert!(!send(&server, &ids[1].to_string(), Some(1)).await);
    assert!(send(&server, &ids[2].to_string(), Some(2)).await);

    assert_eq!(nats.ids("naive").await, [ids[0], ids[0], ids[2]]);
}
