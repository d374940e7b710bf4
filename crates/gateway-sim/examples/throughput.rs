//! How many charges a second the gateway takes, over HTTP and each on disk before its answer.
//!
//! `cargo run --release -p gateway-sim --example throughput -- [clients] [charges] [folder]` prints
//! one line of JSON. The clients run in this program too and share its cores.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use gateway_sim::GatewaySim;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::json;

type Pool = Client<HttpConnector, Body>;

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |usual| arguments.next().map_or(Ok(usual), |text| text.parse());
    let clients: u64 = number(64).context("clients: give a number")?;
    let charges: u64 = number(20_000).context("charges: give a number")?;
    let temporary = tempfile::tempdir()?;
    let folder = arguments
        .next()
        .map_or(temporary.path().to_owned(), Into::into);
    let gateway = GatewaySim::at(folder).start().await?;

    let began = Instant::now();
    let mut waits_us = charge_all(&gateway.url(), clients, charges).await?;
    let elapsed_ms = u64::try_from(began.elapsed().as_millis())?.max(1);

    waits_us.sort_unstable();
    let percentile = |hundredths| waits_us[(waits_us.len() - 1) * hundredths / 100];
    let report = json!({
        "clients": clients,
        "charges": charges,
        "elapsed_ms": elapsed_ms,
        "charges_per_second": charges * 1000 / elapsed_ms,
        "p50_us": percentile(50),
        "p99_us": percentile(99),
    });
    println!("{report}");
    gateway.stop().await;
    Ok(())
}

/// How long each charge waited for its answer, in microseconds.
async fn charge_all(url: &str, clients: u64, charges: u64) -> Result<Vec<u64>> {
    let next = Arc::new(AtomicU64::new(0));
    let pool: Pool = Client::builder(TokioExecutor::new()).build_http();
    let running: Vec<_> = (0..clients)
        .map(|_| {
            let (pool, next, url) = (pool.clone(), Arc::clone(&next), url.to_owned());
            tokio::spawn(async move {
                let mut waits_us = Vec::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= charges {
                        return Ok::<_, anyhow::Error>(waits_us);
                    }
                    let began = Instant::now();
                    charge(&pool, &url, number).await?;
                    waits_us.push(u64::try_from(began.elapsed().as_micros())?);
                }
            })
        })
        .collect();
    let mut waits_us = Vec::new();
    for client in running {
        waits_us.extend(client.await??);
    }
    Ok(waits_us)
}

async fn charge(pool: &Pool, url: &str, number: u64) -> Result<()> {
    let order = json!({
        "reference": format!("attempt-{number}"),
        "token": "tok_approve",
        "amount_minor": 1201,
        "currency": "USD",
    });
    let request = Request::post(format!("{url}/v1/charges"))
        .header("content-type", "application/json")
        .header("idempotency-key", format!("key-{number}"))
        .body(Body::from(order.to_string()))?;
    let answer = pool.request(request).await?;
    ensure!(
        answer.status() == StatusCode::CREATED,
        "{}",
        answer.status()
    );
    // Read to its end, so that the connection is used again.
    axum::body::to_bytes(Body::new(answer.into_body()), 64 * 1024).await?;
    Ok(())
}
