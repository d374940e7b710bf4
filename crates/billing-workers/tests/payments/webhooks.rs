//! Webhooks: believed when they prove whose they are, and only then.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use billing::gateway::{Charge, Gateway as _, Verdict, Webhook, WebhookError};
use billing::ids::PaymentId;
use billing_workers::gateways::{House, Secret};
use chrono::{DateTime, TimeDelta, Utc};
use gateway_sim::{GatewaySim, SIGNATURE_HEADER, TIMESTAMP_HEADER};
use testkit::until;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::world::{PATIENCE, SECRET, usd};

/// A webhook as it came.
#[derive(Debug, Clone)]
pub(crate) struct Came {
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

/// Takes webhooks, and remembers them.
#[derive(Debug, Clone)]
pub(crate) struct Letterbox {
    pub(crate) url: String,
    came: Arc<Mutex<Vec<Came>>>,
}

impl Letterbox {
    pub(crate) async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let letterbox = Self {
            url: format!("http://{}/webhooks", listener.local_addr().unwrap()),
            came: Arc::default(),
        };
        let came = Arc::clone(&letterbox.came);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(take(stream, Arc::clone(&came)));
            }
        });
        letterbox
    }

    pub(crate) fn came(&self) -> Vec<Came> {
        self.came.lock().unwrap().clone()
    }

    /// Waits for so many, and gives them.
    pub(crate) async fn wait_for(&self, count: usize) -> Vec<Came> {
        until("as many webhooks", PATIENCE, async || {
            Some(self.came()).filter(|came| came.len() >= count)
        })
        .await
        .unwrap()
    }
}

async fn take(mut stream: TcpStream, came: Arc<Mutex<Vec<Came>>>) {
    let mut bytes = Vec::new();
    while let Ok(1..) = stream.read_buf(&mut bytes).await {
        let Some((webhook, length)) = parse(&bytes) else {
            continue;
        };
        bytes.drain(..length);
        came.lock().unwrap().push(webhook);
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(answer).await.unwrap();
    }
}

/// The request at the beginning of the bytes, and how many it took, if it is there to its end.
fn parse(bytes: &[u8]) -> Option<(Came, usize)> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let header = |line: &str| {
        let (name, value) = line.split_once(": ")?;
        Some((name.to_lowercase(), value.to_owned()))
    };
    let headers: HashMap<_, _> = head.lines().filter_map(header).collect();
    let length: usize = headers["content-length"].parse().unwrap();
    let body = bytes.get(end..end + length)?.to_vec();
    Some((Came { headers, body }, end + length))
}

impl Came {
    fn sent_at(&self) -> DateTime<Utc> {
        let seconds = self.headers[TIMESTAMP_HEADER].parse().unwrap();
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    pub(crate) fn read_by(&self, house: &House) -> Result<Webhook, WebhookError> {
        self.read_at(house, self.sent_at())
    }

    fn read_at(&self, house: &House, now: DateTime<Utc>) -> Result<Webhook, WebhookError> {
        let header = |name: &str| self.headers.get(name).cloned();
        house.webhook(&header, &self.body, now)
    }
}

/// A webhook of a capture, and the gateway that it is of.
async fn captured(payment: PaymentId) -> (Came, House) {
    let letterbox = Letterbox::open().await;
    let folder = tempfile::tempdir().unwrap();
    let sim = GatewaySim::at(folder.path()).webhook(&letterbox.url, SECRET);
    let sim = sim.start().await.unwrap();
    let house = House::of_simulator(sim.address()).secret(Secret::new(SECRET));
    let charge = Charge {
        payment,
        token: "tok_approve".to_owned(),
        money: usd(1201),
        description: "INV-000001".to_owned(),
    };
    house.charge(&charge).await.unwrap();
    let came = letterbox.wait_for(1).await.remove(0);
    sim.stop().await;
    (came, house)
}

fn forged(read: &Result<Webhook, WebhookError>) -> bool {
    matches!(read, Err(WebhookError::Forged(_)))
}

#[tokio::test]
async fn a_webhook_tells_of_the_payment_what_the_answer_told() {
    let payment = PaymentId::new();
    let (came, house) = captured(payment).await;

    let webhook = came.read_by(&house).unwrap();

    assert_eq!(webhook.payment, Some(payment));
    let Some(Verdict::Captured { money, .. }) = webhook.verdict else {
        panic!("{webhook:?}");
    };
    assert_eq!(money, usd(1201));
    assert!(!webhook.id.is_empty());
}

#[tokio::test]
async fn a_webhook_of_other_bytes_another_time_or_another_secret_is_forged() {
    let (came, house) = captured(PaymentId::new()).await;
    let at = |seconds| came.read_at(&house, came.sent_at() + TimeDelta::seconds(seconds));

    assert!(at(300).is_ok() && at(-300).is_ok());
    assert!(forged(&at(301)) && forged(&at(-301)));
    for byte in 0..came.body.len() {
        let mut other = came.clone();
        other.body[byte] ^= 1;
        assert!(forged(&other.read_by(&house)), "{byte}");
    }
    for name in [TIMESTAMP_HEADER, SIGNATURE_HEADER] {
        let mut other = came.clone();
        other.headers.remove(name);
        let read = other.read_at(&house, came.sent_at());
        assert!(forged(&read), "{name}");
    }
    let others = House::at("http://127.0.0.1:1")
        .unwrap()
        .secret(Secret::new("whsec_other"));
    assert!(forged(&came.read_by(&others)));
}

/// Without a secret everybody could sign.
#[tokio::test]
async fn without_a_secret_no_webhook_is_believed() {
    let (came, _) = captured(PaymentId::new()).await;
    for secret in [None, Secret::new("")] {
        let house = House::at("http://127.0.0.1:1").unwrap().secret(secret);

        let read = came.read_by(&house);

        let Err(WebhookError::Forged(why)) = read else {
            panic!("believed");
        };
        assert!(why.contains("BILLING_GATEWAY_SECRET"), "{why}");
    }
}

#[tokio::test]
async fn a_secret_is_not_shown() {
    let house = House::at("http://127.0.0.1:1")
        .unwrap()
        .timeout(Duration::from_secs(1))
        .secret(Secret::new(SECRET));

    assert!(!format!("{house:?}").contains(SECRET));
}
