//! Clients that leave before they are answered.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use futures::StreamExt as _;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use outbox::clock;
use sqlx::PgPool;
use testkit::until;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::client::post;
use crate::sample::{Debt, closed};
use crate::scene::{PATIENCE, Scene, wanted};
use crate::signed::Signed;

const CLIENTS: u64 = 1_000;
/// Fewer than the server has places, many more than the pool has connections.
const CROWD: usize = 48;
/// As many as the pool has connections: they are left in the middle of their work.
const PAIR: usize = 2;

/// Asks for an account, and leaves with a reset after a moment; whether it was created before.
async fn impatient(address: SocketAddr, n: u64, patience: Duration) -> Option<String> {
    let external_id = format!("customer-{n}");
    let request = post("/v1/accounts", "", &wanted(&external_id));
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.set_zero_linger().unwrap();
    stream.write_all(&request).await.ok()?;
    let mut answer = [0; 32];
    tokio::select! {
        // The answer's first packet, or the moment is over: dropped, the stream resets.
        read = stream.read(&mut answer) => read.ok()?,
        () = clock::pause(patience) => return None,
    };
    answer.starts_with(b"HTTP/1.1 201").then_some(external_id)
}

/// A thousand of them, so many at once; the accounts of which they were told.
async fn storm(address: SocketAddr, first: u64, at_once: usize) -> Vec<String> {
    let client = |n| impatient(address, n, Duration::from_micros(n * 7_919 % 30_000));
    futures::stream::iter(first..first + CLIENTS)
        .map(client)
        .buffer_unordered(at_once)
        .filter_map(async |told| told)
        .collect()
        .await
}

/// Sends a request that has to wait for the accounts, and leaves while it does; afterwards there
/// is one more in the table.
async fn left_alone(scene: &Scene, request: &[u8], table: &str) {
    let before = scene.count(table).await;
    let mut elsewhere = scene.db.pool.begin().await.unwrap();
    sqlx::raw_sql("lock billing.account in exclusive mode")
        .execute(&mut *elsewhere)
        .await
        .unwrap();

    let mut stream = TcpStream::connect(scene.address).await.unwrap();
    stream.set_zero_linger().unwrap();
    stream.write_all(request).await.unwrap();
    scene.somebody_waits().await;
    drop(stream);
    // By the time of this answer the server knows that the other client has gone.
    assert_eq!(scene.get("/healthz").await.status, 200);
    assert_eq!(scene.count(table).await, before);
    elsewhere.rollback().await.unwrap();

    until("what was asked for", PATIENCE, async || {
        (scene.count(table).await == before + 1).then_some(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_request_is_served_to_its_end_though_its_client_has_left() {
    let scene = Scene::new().await;
    let request = post("/v1/accounts", "", &wanted("acme"));
    left_alone(&scene, &request, "billing.account").await;
    let amount = r#""amount":"5.00","currency":"EUR""#;
    for (route, body, table) in [
        (
            "credits",
            format!(r#"{{{amount},"reason":"an outage"}}"#),
            "billing.credit",
        ),
        (
            "payments",
            format!(r#"{{{amount},"note":"cash"}}"#),
            "billing.payment",
        ),
        (
            "payment-methods",
            r#"{"gateway":"house","token":"tok","brand":"Visa","last_four":"4242"}"#.to_owned(),
            "billing.payment_method",
        ),
    ] {
        let request = post(&format!("/v1/accounts/acme/{route}"), "", &body);
        left_alone(&scene, &request, table).await;
    }
    assert_eq!(
        scene.get("/v1/accounts/acme").await.field("credit"),
        "10.00"
    );
}

#[tokio::test]
async fn a_webhook_is_applied_to_its_end_though_the_gateway_has_left() {
    let scene = closed().await;
    let debt = Debt::of(&scene).await;
    let payment = debt.charged(&scene).await;
    let told = Signed::capture("evt_1", payment, debt.due_minor).request();

    left_alone(&scene, &told, "billing.gateway_webhook").await;

    assert_eq!(
        scene
            .count("billing.payment where state = 'succeeded'")
            .await,
        1
    );
    // The gateway tells again what it saw no answer to.
    assert_eq!(scene.send(&told).await.status, 200);
    assert_eq!(scene.count("billing.gateway_webhook").await, 1);
}

#[tokio::test]
async fn a_thousand_clients_that_leave_poison_no_connection_and_lose_no_account() {
    let mut scene = Scene::with_connections(2).await;

    let mut told = storm(scene.address, 0, CROWD).await;
    told.extend(storm(scene.address, CLIENTS, PAIR).await);

    // The connections are as good as new: what is acknowledged now is there for everyone.
    for n in 0..10 {
        let external_id = format!("patient-{n}");
        // At first all places are taken by work for clients that have gone.
        until("a place", PATIENCE, async || {
            (scene.create(&external_id).await.status == 201).then_some(())
        })
        .await
        .unwrap();
        let there = format!("billing.account where external_id = '{external_id}'");
        assert_eq!(scene.count(&there).await, 1);
    }
    scene.stop().await;
    assert_eq!(scene.poisoned().await, 0);
    for external_id in &told {
        let there = format!("billing.account where external_id = '{external_id}'");
        assert_eq!(
            scene.count(&there).await,
            1,
            "{external_id} was acknowledged"
        );
    }
    // Most left before their answer, and were served to the end all the same.
    let accounts = scene.count("billing.account").await;
    assert_eq!(accounts, scene.count("outbox.event").await);
    assert!(
        accounts > told.len() as i64 + 10,
        "{accounts} accounts, {} told",
        told.len()
    );
}

/// The usual server: its handlers begin transactions themselves, and end when their client leaves.
async fn naive(listener: TcpListener, pool: PgPool) -> Result<Infallible, std::io::Error> {
    let handler = async |State(pool): State<PgPool>, _body: Bytes| {
        // A server that is far away: no client is patient enough for its answer to `begin`.
        let slow_begin = "begin; select pg_sleep(0.5)";
        let tx = pool.begin_with(slow_begin).await.unwrap();
        tx.commit().await.unwrap();
    };
    let router = Router::new().fallback(handler).with_state(pool);
    loop {
        let (stream, _) = listener.accept().await?;
        let router = TowerToHyperService::new(router.clone());
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), router);
        tokio::spawn(connection);
    }
}

#[tokio::test]
async fn the_usual_server_is_poisoned_by_a_single_one() {
    let scene = Scene::with_connections(1).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let pool = scene.outbox.pool().clone();
    let serving = tokio::spawn(naive(listener, pool.clone()));

    impatient(address, 0, Duration::from_millis(50)).await;
    until("a poisoned connection", PATIENCE, async || {
        (scene.poisoned().await > 0).then_some(())
    })
    .await
    .unwrap();

    // The next one is told that its table was made, and nobody ever sees it.
    sqlx::raw_sql("create table acknowledged ()")
        .execute(&pool)
        .await
        .unwrap();
    assert_eq!(
        scene
            .count("pg_tables where tablename = 'acknowledged'")
            .await,
        0
    );
    serving.abort();
}
