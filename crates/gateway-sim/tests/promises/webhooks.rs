//! Every result is announced, signed, until the receiver takes it, and survives a restart.

use std::time::Duration;

use gateway_sim::{GatewaySim, SignatureError, StartError};

use crate::caller::Caller;
use crate::receiver::{Received, Receiver, SECRET};
use crate::scene::{Scene, gateway_with, until};

const PAUSE: Duration = Duration::from_millis(10);

async fn announcing(receiver: &Receiver) -> Scene {
    gateway_with(|sim| {
        sim.webhook(&receiver.url, SECRET)
            .webhook_first_pause(PAUSE)
    })
    .await
}

fn kinds(received: &[Received]) -> Vec<String> {
    let mut kinds: Vec<_> = received
        .iter()
        .map(|webhook| webhook.text("type"))
        .collect();
    kinds.sort();
    kinds
}

#[tokio::test]
async fn each_result_is_announced_with_what_it_is_about() {
    let receiver = Receiver::start().await;
    let scene = announcing(&receiver).await;

    let id = scene.caller.captured("a-1").await;
    scene.caller.charge("a-2", "tok_decline").await;
    scene.caller.refund("r-1", &id, 5).await;
    let received = receiver.wait_for(3).await;

    assert_eq!(
        kinds(&received),
        ["charge.captured", "charge.declined", "refund.succeeded"]
    );
    let of = |kind| {
        let mut found = received
            .iter()
            .filter(|webhook| webhook.text("type") == kind);
        found.next().unwrap().json()
    };
    assert_eq!(
        of("charge.captured")["data"]["charge"]["charge_id"],
        id.as_str()
    );
    assert_eq!(of("charge.declined")["data"]["charge"]["reference"], "a-2");
    assert_eq!(
        of("refund.succeeded")["data"]["charge"]["refunded_minor"],
        5
    );
    assert_eq!(of("refund.succeeded")["data"]["refund"]["amount_minor"], 5);
}

#[tokio::test]
async fn a_repeated_request_is_not_announced_again() {
    let receiver = Receiver::start().await;
    let scene = announcing(&receiver).await;

    scene.caller.captured("a-1").await;
    scene.caller.captured("a-1").await;
    scene.caller.captured("a-2").await;
    let received = receiver.wait_for(2).await;

    let mut ids: Vec<_> = received
        .iter()
        .map(|webhook| webhook.text("event_id"))
        .collect();
    ids.sort();
    assert_eq!(ids, ["evt_ch_0000000001", "evt_ch_0000000002"]);
}

#[tokio::test]
async fn a_webhook_is_signed_with_the_secret_and_for_five_minutes() {
    let receiver = Receiver::start().await;
    let scene = announcing(&receiver).await;

    scene.caller.captured("a-1").await;
    let webhook = &receiver.wait_for(1).await[0];

    assert_eq!(webhook.verified(SECRET, 0), Ok(()));
    assert_eq!(
        webhook.verified("whsec_other", 0),
        Err(SignatureError::Mismatch)
    );
    assert_eq!(webhook.verified(SECRET, 301), Err(SignatureError::Stale));
}

#[tokio::test]
async fn a_refused_webhook_is_sent_again_until_it_is_taken() {
    let receiver = Receiver::start().await;
    receiver.refuse_next(2);
    let scene = announcing(&receiver).await;

    scene.caller.captured("a-1").await;
    let received = receiver.wait_for(3).await;

    let ids: Vec<_> = received
        .iter()
        .map(|webhook| webhook.text("event_id"))
        .collect();
    assert_eq!(ids, ["evt_ch_0000000001"; 3]);
    scene.caller.captured("a-2").await;
    let received = receiver.wait_for(4).await;
    assert_eq!(received[3].text("event_id"), "evt_ch_0000000002");
}

#[tokio::test]
async fn a_webhook_that_could_not_be_sent_is_sent_by_the_next_gateway() {
    let dir = tempfile::tempdir().unwrap();
    let nobody = "http://127.0.0.1:9/";
    let first = GatewaySim::at(dir.path())
        .webhook(nobody, SECRET)
        .webhook_first_pause(PAUSE);
    let first = first.start().await.unwrap();
    Caller::of(first.url()).captured("a-1").await;
    first.stop().await;

    let receiver = Receiver::start().await;
    let next = GatewaySim::at(dir.path()).webhook(&receiver.url, SECRET);
    let _next = next.start().await.unwrap();
    let received = receiver.wait_for(1).await;

    assert_eq!(received[0].json()["data"]["charge"]["reference"], "a-1");
}

#[tokio::test]
async fn a_webhook_may_come_twice() {
    let receiver = Receiver::start().await;
    let scene = announcing(&receiver).await;

    scene.caller.charge("a-1", "tok_dup_webhook").await;
    let received = receiver.wait_for(2).await;

    assert_eq!(received[0].json(), received[1].json());
}

#[tokio::test]
async fn a_webhook_may_come_before_the_answer() {
    let receiver = Receiver::start().await;
    let scene = announcing(&receiver).await;
    receiver.close();
    let caller = scene.caller.clone();

    let early = tokio::spawn(async move { caller.charge("a-1", "tok_early_webhook").await });
    receiver.wait_for(1).await;
    // The receiver has not answered yet: another charge gets its answer, this one does not.
    scene.caller.captured("a-2").await;
    assert!(!early.is_finished());
    receiver.open();
    let answer = early.await.unwrap();

    assert_eq!(answer.json()["status"], "captured");
    until("both", async || {
        (receiver.received().len() == 2).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_address_that_cannot_be_called_is_refused_at_the_start() {
    let dir = tempfile::tempdir().unwrap();

    for url in [
        "/webhooks",
        "ftp://127.0.0.1/",
        "https://127.0.0.1/",
        "no url",
    ] {
        let refused = GatewaySim::at(dir.path())
            .webhook(url, SECRET)
            .start()
            .await;
        assert!(matches!(refused, Err(StartError::WebhookUrl(_))), "{url}");
    }
}
