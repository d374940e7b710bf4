//! Traces: who appends an event and who handles it, in one trace (W3C trace context).
//!
//! A unit of work writes the `traceparent` of the span in which it was begun on its events; a
//! handler runs in a span below that one, and what it appends carries on. Handled together, events
//! of several traces are linked to one span instead, since a span has one parent.
//!
//! The spans are there for every subscriber (target `outbox::trace`). The feature `otel` makes them
//! part of OpenTelemetry's; where they are sent is the program's affair.

use std::fmt::Display;

use tracing::field::{Empty, display};
use tracing::{Instrument as _, Span, info_span};

use crate::append::Origin;
use crate::event::Event;

#[cfg(feature = "otel")]
mod otel;

#[cfg(feature = "otel")]
pub(crate) use otel::current;
#[cfg(feature = "otel")]
use otel::follow;

/// Nobody asks for traces.
#[cfg(not(feature = "otel"))]
pub(crate) fn current() -> Option<String> {
    None
}

#[cfg(not(feature = "otel"))]
fn follow<'a>(_: &Span, _: impl Iterator<Item = &'a Event>) {}

impl Origin {
    /// Of a unit of work that is begun in this span, unless it names another.
    pub(crate) fn traced(mut self) -> Self {
        self.traceparent = self.traceparent.or_else(current);
        self
    }
}

/// An attempt at events, in a span of its own.
pub(crate) async fn handling<'a, T, E: Display>(
    consumer: &'static str,
    events: impl Iterator<Item = &'a Event> + Clone,
    attempt: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let span = info_span!(
        target: "outbox::trace",
        "process",
        otel.name = format!("process {consumer}"),
        otel.kind = "consumer",
        otel.status_code = Empty,
        error.message = Empty,
        messaging.system = "outbox",
        messaging.consumer.group.name = consumer,
        messaging.batch.message_count = events.clone().count(),
        messaging.destination.name = Empty,
        messaging.message.id = Empty,
    );
    if !span.is_disabled() {
        follow(&span, events.clone());
        name(&span, events);
    }
    let ended = attempt.instrument(span.clone()).await;
    if let Err(error) = &ended {
        failed(&span, error);
    }
    ended
}

/// A call to the outside for one event, in a span of its own: the events of a batch are called for
/// at once, and are of as many traces.
pub(crate) fn calling(consumer: &'static str, event: &Event) -> Span {
    let span = info_span!(
        target: "outbox::trace",
        "call",
        otel.name = format!("call {consumer}"),
        otel.kind = "client",
        otel.status_code = Empty,
        error.message = Empty,
        messaging.system = "outbox",
        messaging.consumer.group.name = consumer,
        messaging.destination.name = Empty,
        messaging.message.id = Empty,
    );
    if !span.is_disabled() {
        follow(&span, std::iter::once(event));
        name(&span, std::iter::once(event));
    }
    span
}

/// What was done in a span did not succeed.
pub(crate) fn failed(span: &Span, error: impl Display) {
    span.record("otel.status_code", "ERROR");
    span.record("error.message", display(error));
}

/// A span of one event names it.
fn name<'a>(span: &Span, mut events: impl Iterator<Item = &'a Event>) {
    if let (Some(only), None) = (events.next(), events.next()) {
        span.record("messaging.destination.name", only.topic.as_str());
        span.record("messaging.message.id", display(only.event_id));
    }
}
