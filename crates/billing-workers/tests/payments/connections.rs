//! What is known when a connection fails: nothing was sent, or nothing is known.

use std::time::Duration;

use billing::gateway::{CallError, Charge, Gateway as _, Verdict};
use billing::ids::PaymentId;
use billing_workers::gateways::House;
use tokio::net::TcpListener;

use crate::raw::Raw;
use crate::raw::Reply::{self, Bytes, Close, Hang, Reset};
use crate::world::usd;

const SHORT: Duration = Duration::from_millis(300);
const EMPTY: &str = "HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\n{\"charges\":[]}";

fn charge() -> Charge {
    Charge {
        payment: PaymentId::new(),
        token: "tok_approve".to_owned(),
        money: usd(1201),
        description: "INV-000001".to_owned(),
    }
}

fn kind(result: &Result<Verdict, CallError>) -> &'static str {
    match result {
        Ok(_) => "verdict",
        Err(CallError::NotSent(_)) => "not sent",
        Err(CallError::Unknown(_)) => "unknown",
        Err(_) => "other",
    }
}

async fn charged_at(url: &str) -> &'static str {
    let house = House::at(url).unwrap().timeout(SHORT);
    kind(&house.charge(&charge()).await)
}

/// An address where nobody listens.
async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[tokio::test]
async fn only_a_connection_that_never_came_to_be_proves_that_nothing_was_sent() {
    let not_tls = Raw::start(vec![vec![Bytes("HTTP/1.1 400 Bad Request\r\n\r\n")]]).await;
    let not_tls = not_tls.url.replace("http://", "https://");

    assert_eq!(charged_at(&nobody().await).await, "not sent");
    assert_eq!(charged_at("http://gateway.invalid").await, "not sent");
    assert_eq!(charged_at(&not_tls).await, "not sent");
}

/// A name that nobody answers for, or a handshake that stalls, has sent nothing either.
#[tokio::test]
async fn a_connection_that_takes_too_long_proves_it_too() {
    let stalled = Raw::start(vec![vec![Hang]; 2]).await;
    let url = stalled.url.replace("http://", "https://");

    assert_eq!(charged_at(&url).await, "not sent");
    assert_eq!(
        charged_at(&stalled.url).await,
        "unknown",
        "without a handshake"
    );
}

#[tokio::test]
async fn whatever_ends_after_that_is_not_known() {
    let cases: [(&str, Reply); 7] = [
        ("reset", Reset),
        ("closed after the request", Close),
        ("no answer", Hang),
        ("half a head", Bytes("HTTP/1.1 201 Cre")),
        (
            "half a body",
            Bytes("HTTP/1.1 201 Created\r\ncontent-length: 400\r\n\r\n{\"ch"),
        ),
        ("no HTTP", Bytes("SSH-2.0-OpenSSH_9.6\r\n")),
        (
            "no JSON",
            Bytes("HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\nok"),
        ),
    ];
    for (case, reply) in cases {
        let raw = Raw::start(vec![vec![reply]]).await;

        assert_eq!(charged_at(&raw.url).await, "unknown", "{case}");
    }
}

/// The trap of a pool: a connection that lay idle, and was closed over there by the time of the
/// next request.
#[tokio::test]
async fn a_request_that_met_a_closing_connection_is_not_known() {
    let raw = Raw::start(vec![vec![Bytes(EMPTY), Close]]).await;
    let house = House::at(&raw.url).unwrap().timeout(SHORT);
    assert_eq!(house.look_up(PaymentId::new()).await, Ok(None));

    let charged = house.charge(&charge()).await;

    assert_eq!(raw.read(), 2, "both went over one connection");
    assert_eq!(kind(&charged), "unknown");
    assert_eq!(naive_kind(&charged), "not sent");
}

/// As many clients have it: without an answer there was no charge.
fn naive_kind(result: &Result<Verdict, CallError>) -> &'static str {
    match result {
        Err(CallError::Unknown(text)) if text.contains("connection") => "not sent",
        other => kind(other),
    }
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_is_replaced() {
    let raw = Raw::start(vec![vec![Bytes(EMPTY)], vec![Bytes(EMPTY)]]).await;
    let house = House::at(&raw.url).unwrap().timeout(SHORT);

    assert_eq!(house.look_up(PaymentId::new()).await, Ok(None));
    assert_eq!(house.look_up(PaymentId::new()).await, Ok(None));
    assert_eq!(raw.read(), 2);
}
