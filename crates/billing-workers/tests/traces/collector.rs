//! A collector: it takes OTLP over HTTP, and keeps the spans.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use billing_workers::traces::OtlpUrl;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio::net::TcpListener;

type Spans = Arc<Mutex<Vec<Span>>>;

pub(crate) struct Collector {
    address: String,
    spans: Spans,
}

async fn take(State(spans): State<Spans>, body: Bytes) {
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    let scopes = request.resource_spans.into_iter();
    let scopes = scopes.flat_map(|resource| resource.scope_spans);
    let taken = scopes.flat_map(|scope| scope.spans);
    spans.lock().unwrap().extend(taken);
}

impl Collector {
    pub(crate) async fn start() -> Self {
        let spans = Spans::default();
        let routes = Router::new()
            .route("/v1/traces", post(take))
            .with_state(Arc::clone(&spans));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { address, spans }
    }

    pub(crate) fn url(&self) -> OtlpUrl {
        format!("http://{}", self.address).parse().unwrap()
    }

    fn named(&self, name: &str) -> Vec<Span> {
        let spans = self.spans.lock().unwrap();
        let mut named: Vec<Span> = spans.iter().filter(|it| it.name == name).cloned().collect();
        named.sort_by_key(|span| span.start_time_unix_nano);
        named
    }

    /// The first of that name to begin.
    pub(crate) fn first(&self, name: &str) -> Span {
        let first = self.named(name).into_iter().next();
        first.unwrap_or_else(|| panic!("no span {name} in {:?}", self.spans))
    }

    pub(crate) fn only(&self, name: &str) -> Span {
        assert_eq!(self.named(name).len(), 1, "spans {name}");
        self.first(name)
    }

    /// The names of a trace's spans, sorted.
    pub(crate) fn in_trace(&self, traceparent: &str) -> Vec<String> {
        let hex = |id: &[u8]| {
            id.iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
        };
        let trace = traceparent.split('-').nth(1).unwrap();
        let spans = self.spans.lock().unwrap();
        let of_it = spans.iter().filter(|span| hex(&span.trace_id) == trace);
        let mut names: Vec<String> = of_it.map(|span| span.name.clone()).collect();
        names.sort();
        names
    }
}
