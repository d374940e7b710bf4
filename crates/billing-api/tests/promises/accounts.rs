//! Accounts over HTTP.

use std::collections::BTreeSet;

use futures::future::join_all;

use crate::scene::{Scene, wanted};

const REQUEST: &str = "0192f3a1-0000-7000-8000-000000000001";

#[tokio::test]
async fn an_account_created_over_http_announces_who_asked_and_in_which_request() {
    let scene = Scene::new().await;

    let headers = format!("X-Actor: Ada\r\nX-Request-Id: {REQUEST}\r\n");
    let created = scene.post(&headers, &wanted("acme")).await;

    assert_eq!(created.status, 201);
    assert_eq!(created.header("x-request-id"), Some(REQUEST));
    let id = created.field("account_id");
    assert_eq!(
        created.header("location"),
        Some(format!("/v1/accounts/{id}").as_str())
    );
    let history = scene
        .get(&format!("/v1/accounts/{id}/history"))
        .await
        .json();
    let [event] = history["items"].as_array().unwrap().as_slice() else {
        panic!("one event: {history}");
    };
    assert_eq!(event["topic"], "account.created");
    assert_eq!(
        (&event["actor"], &event["request_id"]),
        (&"Ada".into(), &REQUEST.into())
    );
    assert_eq!(event["facts"]["external_id"], "acme");
}

#[tokio::test]
async fn a_request_without_an_id_is_given_one() {
    let scene = Scene::new().await;

    let created = scene.create("acme").await;

    let id = created.header("x-request-id").unwrap();
    let announced = format!("outbox.event where request_id = '{id}' and actor = 'api'");
    assert_eq!(scene.count(&announced).await, 1);
}

#[tokio::test]
async fn an_external_id_is_given_once_however_many_ask_for_it() {
    let scene = Scene::new().await;

    let answers = join_all((0..40).map(|_| scene.create("acme"))).await;

    let with = |status| {
        answers
            .iter()
            .filter(|answer| answer.status == status)
            .count()
    };
    assert_eq!((with(201), with(409)), (1, 39));
    assert_eq!(scene.count("billing.account").await, 1);
    assert_eq!(scene.count("outbox.event").await, 1);
}

#[tokio::test]
async fn an_account_is_found_by_its_id_and_by_its_external_id() {
    let scene = Scene::new().await;
    let id = scene.create("aws/eu west").await.field("account_id");

    let shown = format!("acc_{}", id.replace('-', ""));
    for name in [id.as_str(), &shown, "aws%2Feu%20west"] {
        let found = scene.get(&format!("/v1/accounts/{name}")).await;
        assert_eq!(
            (found.status, found.field("account_id")),
            (200, id.clone()),
            "{name}"
        );
    }
    let absent = scene.get("/v1/accounts/aws").await;
    assert_eq!(
        (absent.status, absent.field("title")),
        (404, "Not Found".to_owned())
    );
}

#[tokio::test]
async fn pages_miss_no_account_and_repeat_none() {
    let scene = Scene::new().await;
    for n in 0..7 {
        scene.create(&format!("customer-{n}")).await;
    }

    let mut seen = Vec::new();
    let mut target = "/v1/accounts?limit=3".to_owned();
    loop {
        let page = scene.get(&target).await.json();
        let items = page["items"].as_array().unwrap();
        seen.extend(items.iter().map(|item| item["external_id"].to_string()));
        let Some(next) = page["next"].as_str() else {
            break;
        };
        target = format!("/v1/accounts?limit=3&after={next}");
    }

    assert_eq!(seen.len(), 7);
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 7);
}
