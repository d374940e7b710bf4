//! A trace goes from who appends an event to who handles it, as a collector sees it.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod collector;
mod shop;

use billing_workers::traces::Traces;
use outbox::testing::{self, Log};
use outbox::{Origin, Outbox};
use testkit::TestDb;
use tracing::{Instrument as _, info_span};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use collector::Collector;

const ELSEWHERE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// One test, because a process has one subscriber: an order in a span, which is packed and carried;
/// one whose client has a trace of its own; and one that is of no trace.
#[tokio::test(flavor = "multi_thread")]
async fn who_appends_and_who_handles_are_of_one_trace() {
    let collector = Collector::start().await;
    let traces = Traces::open(&collector.url(), "shop").unwrap();
    tracing_subscriber::registry().with(traces.layer()).init();
    let db = TestDb::engine().await.unwrap();
    let outbox = Outbox::new(db.pool.clone());
    let log = Log::from_here(&outbox).await.unwrap();

    shop::order(&outbox, Origin::of("customer"))
        .instrument(info_span!("order"))
        .await;
    testing::drain(shop::worker(&outbox)).await.unwrap();
    let handed_on = log.events().await.unwrap();
    let traced = Origin {
        traceparent: Some(ELSEWHERE.to_owned()),
        ..Origin::of("partner")
    };
    shop::order(&outbox, traced)
        .instrument(info_span!("unheard"))
        .await;
    testing::drain(shop::worker(&outbox)).await.unwrap();
    shop::order(&outbox, Origin::of("nobody")).await;
    traces.close().await;

    let (order, packed) = (collector.only("order"), collector.first("process packer"));
    let (carried, call) = (
        collector.first("process carrier"),
        collector.first("call carrier"),
    );
    assert_eq!(packed.parent_span_id, order.span_id);
    assert_eq!(carried.parent_span_id, packed.span_id);
    assert_eq!(call.parent_span_id, packed.span_id);
    for span in [&packed, &carried, &call] {
        assert_eq!(span.trace_id, order.trace_id, "{}", span.name);
    }
    assert!(handed_on.iter().all(|event| event.traceparent.is_some()));
    assert_eq!(
        collector.in_trace(ELSEWHERE),
        ["call carrier", "process carrier", "process packer"]
    );
    let untraced = log.events().await.unwrap().pop().unwrap();
    assert_eq!(
        (untraced.actor.as_str(), &untraced.traceparent),
        ("nobody", &None)
    );
}
