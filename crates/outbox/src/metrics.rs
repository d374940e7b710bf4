//! Metrics: what a monitor should see, through the `metrics` facade. Where no recorder is
//! installed they cost next to nothing.
//!
//! Counted where it happens: `outbox_ticks_total`, `outbox_published_total` and
//! `outbox_tick_events` by the relay;
//! `outbox_handled_total`, `outbox_parked_total` and `outbox_batch_seconds` by workers. Everything
//! else is asked of the database four times a minute by [`sample`].
//!
//! - of the log: `outbox_ticks_total`, `outbox_published_total` (events in ticks),
//!   `outbox_tick_events` (a histogram: events per tick), `outbox_relays` (live ones),
//!   `outbox_sample_age_seconds` (how old these figures are), `outbox_tick_age_seconds`,
//!   `outbox_unpublished_events` (committed, in no tick), `outbox_oldest_unpublished_seconds`,
//!   `outbox_planned_events`, `outbox_due_events` (planned, due, not fired),
//!   `outbox_oldest_writer_seconds` and `outbox_oldest_writer_pid` (the writing transaction that
//!   has been open for longest);
//! - of batches that are not done, all together: `outbox_batches`, and
//!   `outbox_batch_remaining_events` (what they still wait for). A label with a batch's name would
//!   leave one more series behind for each; `outbox-relay status` tells them apart;
//! - of a consumer (label `consumer`): `outbox_handled_total` (events), `outbox_batch_seconds` (a
//!   histogram), `outbox_parked_total` (events that came into trouble; label `why`),
//!   `outbox_unread_events`, `outbox_late_seconds` (age of the oldest unread one),
//!   `outbox_processes`, `outbox_closed_processes` (of these, waiting for the other side),
//!   `outbox_deliveries_in_trouble`, `outbox_blocked_keys`, `outbox_dead_letters`, and
//!   `outbox_paused` (1 while it is).

use std::time::{Duration, Instant};

use metrics::{counter, gauge, histogram};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::status::{self, ConsumerStatus, Status};
use crate::supervise::pause;

const EVERY: Duration = Duration::from_secs(15);

pub(crate) fn cut(events: i64) {
    counter!("outbox_ticks_total").increment(1);
    counter!("outbox_published_total").increment(events.unsigned_abs());
    histogram!("outbox_tick_events").record(number(events));
}

pub(crate) fn handled(consumer: &'static str, events: usize, began: Instant) {
    let events = u64::try_from(events).unwrap_or(u64::MAX);
    counter!("outbox_handled_total", "consumer" => consumer).increment(events);
    histogram!("outbox_batch_seconds", "consumer" => consumer).record(began.elapsed());
}

pub(crate) fn parked(consumer: &'static str, why: &'static str) {
    counter!("outbox_parked_total", "consumer" => consumer, "why" => why).increment(1);
}

/// Keeps the gauges up to date until `shutdown`. One process of a site is enough.
pub async fn sample(pool: PgPool, shutdown: CancellationToken) {
    let mut sampled = Instant::now();
    while !shutdown.is_cancelled() {
        match status::status(&pool).await {
            Ok(status) => {
                show(&status);
                sampled = Instant::now();
            }
            Err(error) => tracing::debug!(%error, "The log could not be asked how it stands"),
        }
        // The others stand still while nobody can be asked.
        gauge!("outbox_sample_age_seconds").set(sampled.elapsed());
        pause(&shutdown, EVERY).await;
    }
}

fn show(status: &Status) {
    gauge!("outbox_relays").set(number(status.relays));
    gauge!("outbox_tick_age_seconds").set(status.age(status.cut_at));
    gauge!("outbox_unpublished_events").set(number(status.unpublished));
    let oldest = status.oldest_unpublished.map(|since| status.age(since));
    gauge!("outbox_oldest_unpublished_seconds").set(oldest.unwrap_or_default());
    gauge!("outbox_planned_events").set(number(status.planned));
    gauge!("outbox_due_events").set(number(status.due));
    let writer = status.oldest_writer.as_ref();
    let open = writer.map(|writer| status.age(writer.since));
    gauge!("outbox_oldest_writer_seconds").set(open.unwrap_or_default());
    gauge!("outbox_oldest_writer_pid").set(writer.map_or(0, |writer| writer.pid));
    let batches = &status.batches;
    gauge!("outbox_batches").set(number(i64::try_from(batches.len()).unwrap_or(i64::MAX)));
    let remaining = batches.iter().map(|batch| batch.remaining).sum();
    gauge!("outbox_batch_remaining_events").set(number(remaining));
    for consumer in &status.consumers {
        show_consumer(status, consumer);
    }
}

fn show_consumer(status: &Status, consumer: &ConsumerStatus) {
    let name = || consumer.name.clone();
    let late = consumer.oldest_unread.map(|since| status.age(since));
    gauge!("outbox_late_seconds", "consumer" => name()).set(late.unwrap_or_default());
    let paused = consumer.paused.is_some();
    for (gauge, value) in [
        ("outbox_unread_events", consumer.unread),
        ("outbox_processes", consumer.processes),
        ("outbox_closed_processes", consumer.closed),
        ("outbox_deliveries_in_trouble", consumer.in_trouble),
        ("outbox_blocked_keys", consumer.blocked_keys),
        ("outbox_dead_letters", consumer.dead),
        ("outbox_paused", i64::from(paused)),
    ] {
        gauge!(gauge, "consumer" => name()).set(number(value));
    }
}

/// Exact up to four billion.
fn number(count: i64) -> f64 {
    f64::from(u32::try_from(count.max(0)).unwrap_or(u32::MAX))
}
