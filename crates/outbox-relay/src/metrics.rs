//! Metrics for Prometheus, on an address of their own.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::routing::get;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Between two looks at how the checks came out: as often as at the log.
const EVERY: Duration = Duration::from_secs(15);

/// Answers `GET /metrics` until `shutdown`.
pub(crate) async fn serve(
    address: SocketAddr,
    pool: PgPool,
    shutdown: CancellationToken,
) -> Result<()> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen for Prometheus on {address}"))?;
    let events = Matcher::Full("outbox_tick_events".to_owned());
    let metrics = PrometheusBuilder::new()
        .set_buckets(&[0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0])?
        .set_buckets_for_metric(events, &[1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6])?
        .install_recorder()?;
    let router = Router::new().route("/metrics", get(move || render(metrics.clone())));
    let stopped = shutdown.clone().cancelled_owned();
    let serving = axum::serve(listener, router).with_graceful_shutdown(stopped);
    let log = outbox::metrics::sample(pool.clone(), shutdown.clone());
    let checks = shutdown.run_until_cancelled(sample_checks(pool));
    let (served, (), _) = tokio::join!(serving, log, checks);
    Ok(served?)
}

/// Whoever ran the checks, and whenever: the gauges are of the database.
async fn sample_checks(pool: PgPool) {
    loop {
        if let Err(error) = billing_workers::show_checks(&pool).await {
            tracing::debug!(%error, "The database could not be asked how the checks came out");
        }
        outbox::clock::pause(EVERY).await;
    }
}

async fn render(metrics: PrometheusHandle) -> String {
    metrics.run_upkeep();
    metrics.render()
}
