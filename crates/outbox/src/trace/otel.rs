//! Spans of `tracing` as part of OpenTelemetry's traces.
//!
//! The form of a `traceparent` is W3C Trace Context's: <https://www.w3.org/TR/trace-context/>.

use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::event::Event;

/// How many links a span of OpenTelemetry keeps, unless told otherwise.
const LINKS_MAX: usize = 128;

/// The span of now, if it is part of a trace: that of `tracing`, or one that was made without it.
pub(crate) fn current() -> Option<String> {
    let traced = Span::current().context();
    let plain = opentelemetry::Context::current();
    let written = |context: &opentelemetry::Context| written(context.span().span_context());
    written(&traced).or_else(|| written(&plain))
}

/// Puts a span below the one that appended its events, or links it to them if those were several.
pub(super) fn follow<'a>(span: &Span, events: impl Iterator<Item = &'a Event>) {
    let mut causes: Vec<SpanContext> = events
        .filter_map(|event| read(event.traceparent.as_deref()?))
        .collect();
    causes.dedup_by_key(|cause| (cause.trace_id(), cause.span_id()));
    let Some(first) = causes.first().cloned() else {
        return;
    };
    if causes
        .iter()
        .all(|cause| cause.trace_id() == first.trace_id())
    {
        causes.remove(0);
        let parent = opentelemetry::Context::new().with_remote_span_context(first);
        if let Err(error) = span.set_parent(parent) {
            tracing::debug!(%error, "A span stands alone: nobody joins spans to traces");
        }
    }
    for cause in causes.into_iter().take(LINKS_MAX) {
        span.add_link(cause);
    }
}

fn written(span: &SpanContext) -> Option<String> {
    span.is_valid().then(|| {
        let (trace, id) = (span.trace_id(), span.span_id());
        format!("00-{trace}-{id}-{:02x}", span.trace_flags().to_u8())
    })
}

/// Nothing for what is no `traceparent`: anybody may have written it. A version after ours may add
/// fields at the end.
fn read(traceparent: &str) -> Option<SpanContext> {
    let mut fields = traceparent.split('-');
    let mut field = |width| fields.next().filter(|field| is_hex(field, width));
    let (version, trace, span, flags) = (field(2)?, field(32)?, field(16)?, field(2)?);
    if version == "ff" || (version == "00" && fields.next().is_some()) {
        return None;
    }
    let context = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED,
        true,
        TraceState::NONE,
    );
    context.is_valid().then_some(context)
}

/// Lower case alone is allowed.
fn is_hex(field: &str, width: usize) -> bool {
    let is_digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    field.len() == width && field.bytes().all(is_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_traceparent_is_read_as_it_was_written() {
        let span = read(EXAMPLE).unwrap();

        assert!(span.is_remote() && span.is_sampled());
        assert_eq!(written(&span).as_deref(), Some(EXAMPLE));
    }

    #[test]
    fn a_later_version_may_say_more() {
        assert!(read(&format!("{EXAMPLE}-more").replacen("00", "01", 1)).is_some());
        assert_eq!(read(&format!("{EXAMPLE}-more")), None);
    }

    #[test]
    fn what_is_no_traceparent_has_no_parent() {
        let none = "00-00000000000000000000000000000000-b7ad6b7169203331-01";
        let long = format!("0{EXAMPLE}");
        let upper = EXAMPLE.to_uppercase();
        for text in ["", "-", "00-é-1-01", none, &long, &upper, &EXAMPLE[..54]] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
