//! Traces: where spans are sent, for any collector that takes OTLP over HTTP.
//!
//! What a program does for somebody is one trace, from the request or the run that caused it
//! through the log to the consumers. Nothing waits for the collector: spans are handed over in
//! batches, and dropped while it is down.
//!
//! Headers, such as a token, and the share of traces that is kept come from the variables of
//! OpenTelemetry itself: `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_TRACES_SAMPLER`.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;
use std::time::Duration;

use hyper::{HeaderMap, Uri};
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{TraceContextExt as _, TracerProvider as _};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_otlp::{
    ExporterBuildError, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::level_filters::LevelFilter;
use tracing::{Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Layer;
use tracing_subscriber::registry::LookupSpan;

mod client;

/// A program that stops waits for its last spans no longer than that.
const LAST_SPANS: Duration = Duration::from_secs(3);
/// A collector that takes longer has lost the batch.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a collector is, such as `http://localhost:4318`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpUrl(String);

/// Why an address is none of a collector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the address of a collector: give one like http://localhost:4318")]
pub struct OtlpUrlError(String);

impl FromStr for OtlpUrl {
    type Err = OtlpUrlError;

    /// As everywhere in OpenTelemetry: the base, to which the path of traces is added.
    fn from_str(text: &str) -> Result<Self, OtlpUrlError> {
        let wrong = || OtlpUrlError(text.to_owned());
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
        if !is_web || uri.host().is_none_or(str::is_empty) || uri.query().is_some() {
            return Err(wrong());
        }
        let base = text.trim_end_matches('/').trim_end_matches("/v1/traces");
        Ok(Self(format!("{base}/v1/traces")))
    }
}

impl Display for OtlpUrl {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A program's way to its collector.
#[derive(Debug, Clone)]
pub struct Traces(SdkTracerProvider);

impl Traces {
    /// Begins to send the spans of `program`. Must be called within a Tokio runtime of several
    /// threads, which sends them.
    ///
    /// # Errors
    /// When a variable of OpenTelemetry cannot be used.
    pub fn open(url: &OtlpUrl, program: &'static str) -> Result<Self, ExporterBuildError> {
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client::Client::new())
            .with_endpoint(url.to_string())
            .with_timeout(EXPORT_TIMEOUT)
            .build()?;
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(Resource::builder().with_service_name(program).build())
            .build();
        Ok(Self(provider))
    }

    /// What makes spans of `tracing` spans of OpenTelemetry, for a program's subscriber.
    pub fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer("billing"))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_filter(LevelFilter::INFO)
    }

    /// Sends what is left; a collector that is down is not waited for.
    pub async fn close(self) {
        let closing = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(LAST_SPANS));
        if let Ok(Err(error)) = closing.await {
            tracing::warn!(%error, "The last spans did not reach the collector");
        }
    }
}

/// Puts the span of a request below that of its client, if the headers name one (W3C trace
/// context).
pub fn follow(request: &Span, headers: &HeaderMap) {
    let client = TraceContextPropagator::new().extract(&HeaderExtractor(headers));
    if !client.span().span_context().is_valid() {
        return;
    }
    if let Err(error) = request.set_parent(client) {
        tracing::trace!(%error, "Nobody asks for traces");
    }
}

/// [`Traces::open`], for a program that may have no collector.
///
/// # Errors
/// Its own.
pub fn open(
    url: Option<&OtlpUrl>,
    program: &'static str,
) -> Result<Option<Traces>, ExporterBuildError> {
    url.map(|url| Traces::open(url, program)).transpose()
}

/// [`Traces::close`], if there is a collector.
pub async fn close(traces: Option<Traces>) {
    if let Some(traces) = traces {
        traces.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_traces_is_added_to_the_base() {
        for url in ["http://c:4318", "http://c:4318/", "http://c:4318/v1/traces"] {
            let url: OtlpUrl = url.parse().unwrap();
            assert_eq!(url.to_string(), "http://c:4318/v1/traces");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "localhost:4318",
            "grpc://c:4317",
            "http://",
            "http://c?x=1",
        ] {
            assert!(text.parse::<OtlpUrl>().is_err(), "{text}");
        }
    }
}
