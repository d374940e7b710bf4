//! Somebody at a screen while the bulk settles: how long until what they did is handled.
//!
//! Five times a second an interactive transaction asks for a payment of an invoice that is paid
//! already. The consumer of payments, run by the program under measure, finds nothing to do and
//! says so in a row of its own: from the commit to that row is what is measured.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use outbox::{NewEvent, Origin, Outbox};
use serde_json::{Value, json};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use uuid::Uuid;

const EVERY: Duration = Duration::from_millis(200);
/// How exactly is measured: the row is looked for so often.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// An event that is not handled by then is told as having taken so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// A probe that asks while it may.
pub(crate) struct Probe {
    may: watch::Sender<bool>,
    seen: JoinHandle<Result<Vec<Duration>>>,
}

impl Probe {
    /// One that asks nothing yet.
    pub(crate) async fn new(url: &str) -> Result<Self> {
        let pool = PgPoolOptions::new().max_connections(2).connect(url).await?;
        let (may, asked) = watch::channel(false);
        let seen = tokio::spawn(run(pool, asked));
        Ok(Self { may, seen })
    }

    /// Asks from now on, or no more.
    pub(crate) fn go_on(&self, may: bool) {
        self.may.send_replace(may);
    }

    /// Milliseconds: how many were measured, their median, the hundredth, the worst.
    pub(crate) async fn end(self) -> Result<Value> {
        drop(self.may);
        let mut seen = self.seen.await??;
        seen.sort_unstable();
        let at = |percent: usize| seen.get((seen.len() * percent / 100).min(seen.len() - 1));
        let told = |one: Option<&Duration>| one.map(|one| json!(one.as_millis()));
        if seen.is_empty() {
            return Ok(json!({ "events": 0 }));
        }
        Ok(json!({
            "events": seen.len(),
            "p50": told(at(50)),
            "p99": told(at(99)),
            "max": told(seen.last()),
        }))
    }
}

async fn run(pool: PgPool, mut may: watch::Receiver<bool>) -> Result<Vec<Duration>> {
    let outbox = Outbox::new(pool.clone());
    let mut seen = Vec::new();
    let (account, invoice) = paid(&pool).await?;
    let mut ticks = tokio::time::interval(EVERY);
    while may.wait_for(|may| *may).await.is_ok() {
        ticks.tick().await;
        let event = ask(&outbox, account, invoice).await?;
        tokio::select! {
            took = handled(&pool, event) => seen.push(took?),
            _ = may.wait_for(|may| !*may) => {}
        }
    }
    Ok(seen)
}

/// An invoice that is paid, as those that credit covers are from the beginning: nothing becomes of
/// asking for its payment.
async fn paid(pool: &PgPool) -> Result<(Uuid, Uuid)> {
    let paid = "select account_id, invoice_id from billing.invoice where state = 'paid' limit 1";
    let found = sqlx::query_as(paid).fetch_optional(pool).await?;
    found.context("no invoice of the sample is paid by credit: take more accounts")
}

async fn ask(outbox: &Outbox, account: Uuid, invoice: Uuid) -> Result<Uuid> {
    let mut tx = outbox.begin(Origin::of("probe")).await?;
    sqlx::query("select from billing.account where account_id = $1 for update")
        .bind(account)
        .execute(&mut *tx)
        .await?;
    let locked = tx.locked(account);
    let payload = json!({ "invoice_id": invoice, "why": "a probe" });
    let event = tx.append(locked, NewEvent::new("payment.wanted", 1, payload));
    tx.commit().await?;
    Ok(event)
}

async fn handled(pool: &PgPool, event: Uuid) -> Result<Duration> {
    let began = Instant::now();
    loop {
        let said = "select exists (select from outbox.obsolete where event_id = $1)";
        let said: bool = sqlx::query_scalar(said).bind(event).fetch_one(pool).await?;
        if said || began.elapsed() > PATIENCE {
            return Ok(began.elapsed());
        }
        outbox::clock::pause(LOOK_EVERY).await;
    }
}
