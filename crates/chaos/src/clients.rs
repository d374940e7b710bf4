//! Clients of the interface, and the journal of what they were told: what was acknowledged must be
//! there, once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::time::timeout;
use uuid::Uuid;

/// A client that hears nothing for so long asks again.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(100);

/// What was acknowledged: the table, the column of its id, and the id.
#[derive(Debug, Clone)]
struct Told {
    table: &'static str,
    id: Uuid,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Journal(Arc<Mutex<Vec<Told>>>);

impl Journal {
    fn note(&self, table: &'static str, id: Uuid) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.push(Told { table, id });
    }

    pub(crate) fn acknowledged(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// What was acknowledged and is not there.
    pub(crate) async fn violations(&self, pool: &PgPool) -> Result<Vec<String>> {
        let told = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let mut lost = Vec::new();
        for Told { table, id } in told {
            let column = format!("{table}_id");
            let count = format!("select count(*) from billing.{table} where {column} = $1");
            let count = sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(count)).bind(id);
            if count.fetch_one(pool).await? != 1 {
                lost.push(format!(
                    "K2: the {table} {id} was acknowledged and is not there"
                ));
            }
        }
        Ok(lost)
    }
}

/// One customer after the other: opens an account, adds a card, is granted credit and pays by hand.
/// Each request is repeated until it is answered, in the same words.
pub(crate) async fn customers(api: String, journal: Journal, seed: u64, number: u32) -> Result<()> {
    let client = Caller::of(api);
    for nth in 0..number {
        let external = format!("client-{seed}-{nth}");
        let account = json!({
            "external_id": external, "name": "Client", "currency": "USD", "zone": "UTC",
        });
        let path = format!("/v1/accounts/{external}");
        let opened = client.opened(&path, &account).await?;
        journal.note("account", opened);
        let card = json!({
            "gateway": "sim", "token": "tok_approve", "brand": "Visa", "last_four": "4242",
        });
        let answer = client
            .asked(&format!("{path}/payment-methods"), &card)
            .await?;
        journal.note("payment_method", id(&answer, "payment_method_id")?);
        let credit = outbox::ids::new();
        let body = json!({
            "credit_id": credit, "amount": "1.25", "currency": "USD", "reason": "welcome",
        });
        client.asked(&format!("{path}/credits"), &body).await?;
        journal.note("credit", credit);
        let payment = outbox::ids::new();
        let body = json!({
            "payment_id": payment, "amount": "2.50", "currency": "USD", "note": "cheque",
        });
        client.asked(&format!("{path}/payments"), &body).await?;
        journal.note("payment", payment);
    }
    Ok(())
}

/// Asks for a cent of some payments back, once they have succeeded.
pub(crate) async fn refunds(
    api: String,
    journal: Journal,
    pool: PgPool,
    number: i64,
) -> Result<()> {
    let client = Caller::of(api);
    let paid = "select payment_id from billing.payment
        where state = 'succeeded' and gateway is not null and currency = 'USD'
            and captured_minor > 100 and not exists (
            select from billing.refund where refund.payment_id = payment.payment_id)
        order by payment_id limit 1";
    let mut asked = 0;
    while asked < number {
        let found = sqlx::query_scalar::<_, Uuid>(paid)
            .fetch_optional(&pool)
            .await;
        // The server may be away, or no payment may have succeeded yet.
        let Ok(Some(payment)) = found else {
            outbox::clock::pause(PAUSE).await;
            continue;
        };
        let refund = outbox::ids::new();
        let body = json!({
            "refund_id": refund, "amount": "0.01", "currency": "USD", "reason": "a courtesy",
        });
        client
            .asked(&format!("/v1/payments/{payment}/refunds"), &body)
            .await?;
        journal.note("refund", refund);
        asked += 1;
    }
    Ok(())
}

/// Whether the interface answers.
pub(crate) async fn is_answered(api: &str) -> bool {
    let client = Caller::of(api.to_owned());
    let answer = client.once(Method::GET, "/healthz", &Value::Null).await;
    answer.is_some_and(|(status, _)| status == StatusCode::OK)
}

struct Caller {
    http: Client<HttpConnector, Full<Bytes>>,
    api: String,
}

impl Caller {
    fn of(api: String) -> Self {
        let http = Client::builder(TokioExecutor::new()).build_http();
        Self { http, api }
    }

    /// An account has no id of the client's: whether it was opened is looked up.
    async fn opened(&self, path: &str, body: &Value) -> Result<Uuid> {
        loop {
            if let Some((status, answer)) = self.once(Method::POST, "/v1/accounts", body).await {
                if status == StatusCode::CREATED {
                    return id(&answer, "account_id");
                }
                if status == StatusCode::CONFLICT
                    && let Some((StatusCode::OK, found)) =
                        self.once(Method::GET, path, &Value::Null).await
                {
                    return id(&found, "account_id");
                }
            }
            outbox::clock::pause(PAUSE).await;
        }
    }

    async fn asked(&self, path: &str, body: &Value) -> Result<Value> {
        loop {
            match self.once(Method::POST, path, body).await {
                Some((StatusCode::CREATED | StatusCode::OK, answer)) => return Ok(answer),
                Some((status, answer)) if status.is_client_error() => {
                    bail!("{path} was answered with {status}: {answer}")
                }
                _ => outbox::clock::pause(PAUSE).await,
            }
        }
    }

    /// Nothing when no answer came.
    async fn once(&self, method: Method, path: &str, body: &Value) -> Option<(StatusCode, Value)> {
        let body = match body {
            Value::Null => Bytes::new(),
            body => body.to_string().into(),
        };
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.api))
            .header("content-type", "application/json")
            .body(Full::new(body))
            .ok()?;
        let answer = async {
            let response = self.http.request(request).await.ok()?;
            let status = response.status();
            let body = response.into_body().collect().await.ok()?.to_bytes();
            Some((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
        };
        timeout(PATIENCE, answer).await.ok()?
    }
}

fn id(answer: &Value, name: &str) -> Result<Uuid> {
    let text = answer[name].as_str().unwrap_or_default();
    // Shown with a prefix or bare.
    let bare = text.rsplit_once('_').map_or(text, |(_, bare)| bare);
    match bare.parse() {
        Ok(id) => Ok(id),
        Err(_) => bail!("no {name} in {answer}"),
    }
}
