//! A served database of one's own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use billing::gateway::Gateways;
use billing_workers::gateways::{House, Secret};
use outbox::Outbox;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgPoolOptions;
use testkit::{TestDb, until};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::client::{self, Answer, exchange, get};

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Scene {
    pub(crate) db: TestDb,
    pub(crate) outbox: Outbox,
    pub(crate) address: SocketAddr,
    shutdown: CancellationToken,
    serving: JoinHandle<()>,
}

impl Scene {
    pub(crate) async fn new() -> Self {
        Self::with_connections(8).await
    }

    pub(crate) async fn with_connections(count: u32) -> Self {
        let db = TestDb::billing().await.unwrap();
        let pool = PgPoolOptions::new().max_connections(count);
        let outbox = Outbox::new(pool.connect(db.url()).await.unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let (outbox_there, stop) = (outbox.clone(), shutdown.clone());
        let serving = billing_api::serve(listener, outbox_there, gateways(), stop);
        Self {
            db,
            outbox,
            address,
            shutdown,
            serving: tokio::spawn(serving),
        }
    }

    pub(crate) async fn get(&self, target: &str) -> Answer {
        self.send(&get(target)).await
    }

    pub(crate) async fn post(&self, headers: &str, body: &str) -> Answer {
        self.send(&client::post("/v1/accounts", headers, body))
            .await
    }

    /// Posts a body of JSON somewhere.
    pub(crate) async fn tell(&self, target: &str, body: &Value) -> Answer {
        self.send(&client::post(target, "", &body.to_string()))
            .await
    }

    pub(crate) async fn send(&self, request: &[u8]) -> Answer {
        exchange(self.address, request).await.expect("an answer")
    }

    pub(crate) async fn create(&self, external_id: &str) -> Answer {
        self.post("", &wanted(external_id)).await
    }

    /// Serves what is in hand to its end, and no more.
    pub(crate) async fn stop(&mut self) {
        self.shutdown.cancel();
        (&mut self.serving).await.unwrap();
    }

    /// A number, asked over a connection that the server does not use.
    pub(crate) async fn count(&self, from: &str) -> i64 {
        let question = format!("select count(*) from {from}");
        sqlx::query_scalar(AssertSqlSafe(question))
            .fetch_one(&self.db.pool)
            .await
            .unwrap()
    }

    /// Waits until somebody in this database waits for a lock.
    pub(crate) async fn somebody_waits(&self) {
        let waiting = "pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock'";
        until(
            "a transaction that waits for a lock",
            PATIENCE,
            async || (self.count(waiting).await > 0).then_some(()),
        )
        .await
        .unwrap();
    }

    /// Connections with a transaction that nobody will end.
    pub(crate) async fn poisoned(&self) -> i64 {
        let forgotten = "pg_stat_activity
            where datname = current_database() and state like 'idle in transaction%'";
        self.count(forgotten).await
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// The secret of the gateway named `house`.
pub(crate) const SECRET: &str = "whsec_house";
/// That of the one named `other`.
pub(crate) const OTHER_SECRET: &str = "whsec_other";

/// Two gateways, whose webhooks are believed and whom nobody can call.
fn gateways() -> Gateways {
    let with_secret = |secret| {
        let house = House::at("http://127.0.0.1:1").unwrap();
        Arc::new(house.secret(Secret::new(secret)))
    };
    Gateways::default()
        .with("house", with_secret(SECRET))
        .with("other", with_secret(OTHER_SECRET))
}

/// The body that creates an account.
pub(crate) fn wanted(external_id: &str) -> String {
    json!({
        "external_id": external_id,
        "name": "Acme Ltd",
        "currency": "EUR",
        "zone": "Europe/Budapest",
    })
    .to_string()
}
