//! How the log and its consumers stand, for a person.

use std::io::{self, Write};
use std::time::Duration;

use anyhow::Result;
use outbox::operation::Paused;
use outbox::status::{self, ConsumerStatus, Status};
use sqlx::PgPool;

pub(crate) async fn show(pool: &PgPool, json: bool) -> Result<()> {
    let status = status::status(pool).await?;
    let mut out = io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, &status)?;
        return Ok(writeln!(out)?);
    }
    write(&mut out, &status)?;
    Ok(())
}

pub(crate) fn write(out: &mut impl Write, status: &Status) -> io::Result<()> {
    for (name, text) in [
        ("Log", log(status)),
        ("Relays", relays(status)),
        ("Timers", timers(status)),
        ("Writers", writers(status)),
    ] {
        writeln!(out, "{name:<10}{text}")?;
    }
    writeln!(out)?;
    let width = status.consumers.iter().map(|of| of.name.len()).max();
    let width = width.unwrap_or(0).max("CONSUMER".len());
    writeln!(
        out,
        "{:<width$}  {:>9}  {:>9}  {:>8}  {:>10}  {:>8}  {:>6}",
        "CONSUMER", "PROCESSES", "UNREAD", "LATE", "IN TROUBLE", "KEYS", "DEAD"
    )?;
    for consumer in &status.consumers {
        let late = consumer.oldest_unread.map(|since| status.age(since));
        writeln!(
            out,
            "{:<width$}  {:>9}  {:>9}  {:>8}  {:>10}  {:>8}  {:>6}{}",
            consumer.name,
            consumer.processes,
            consumer.unread,
            late.map_or_else(|| "-".to_owned(), seconds),
            consumer.in_trouble,
            consumer.blocked_keys,
            consumer.dead,
            remark(consumer),
        )?;
    }
    write_batches(out, status)
}

/// Nothing is said where no batch is waited for.
fn write_batches(out: &mut impl Write, status: &Status) -> io::Result<()> {
    let Some(width) = status.batches.iter().map(|of| of.name.len()).max() else {
        return Ok(());
    };
    let width = width.max("BATCH".len());
    writeln!(
        out,
        "\n{:<width$}  {:>6}  {:>9}  {:>9}  {:>6}",
        "BATCH", "STATE", "OPEN FOR", "REMAINING", "DEAD"
    )?;
    for batch in &status.batches {
        writeln!(
            out,
            "{:<width$}  {:>6}  {:>9}  {:>9}  {:>6}",
            batch.name,
            batch.state,
            seconds(status.age(batch.opened_at)),
            batch.remaining,
            batch.dead,
        )?;
    }
    Ok(())
}

fn log(status: &Status) -> String {
    let waiting = match status.oldest_unpublished {
        Some(since) => format!(
            "{} events wait for a relay, the first for {}",
            status.unpublished,
            seconds(status.age(since))
        ),
        None => "nothing waits for a relay".to_owned(),
    };
    format!(
        "tick {}, cut {} ago; {} events in the last minute; {waiting}",
        status.tick,
        seconds(status.age(status.cut_at)),
        status.events_last_minute,
    )
}

fn relays(status: &Status) -> String {
    match status.relays {
        0 => "none: start `outbox-relay`, or nothing is published".to_owned(),
        1 => "1".to_owned(),
        number => number.to_string(),
    }
}

fn timers(status: &Status) -> String {
    let Some(next) = status.next_due else {
        return "none planned".to_owned();
    };
    let due = match status.due {
        0 => "none due".to_owned(),
        number => format!("{number} due"),
    };
    let next = next.format("%Y-%m-%d %H:%M:%S %Z");
    format!("{} planned, {due}; the next is for {next}", status.planned)
}

fn writers(status: &Status) -> String {
    status.oldest_writer.as_ref().map_or_else(
        || "no transaction is writing".to_owned(),
        |writer| {
            format!(
                "the oldest open transaction began {} ago: pid {}, {} ({})",
                seconds(status.age(writer.since)),
                writer.pid,
                writer.application,
                writer.state,
            )
        },
    )
}

fn remark(consumer: &ConsumerStatus) -> String {
    let mut remarks = Vec::new();
    remarks.extend(consumer.paused.map(pause_text));
    if consumer.closed > 0 {
        remarks.push(format!("{} wait for the other side", consumer.closed));
    }
    if consumer.processes == 0 {
        remarks.push("runs nowhere".to_owned());
    }
    if remarks.is_empty() {
        return String::new();
    }
    format!("  {}", remarks.join(", "))
}

pub(crate) fn pause_text(paused: Paused) -> String {
    match paused {
        Paused::UntilResumed => "paused".to_owned(),
        Paused::Until(until) => format!("paused until {}", until.format("%Y-%m-%d %H:%M:%S %Z")),
    }
}

/// To a tenth, as long as that says something.
fn seconds(time: Duration) -> String {
    match time.as_secs() {
        0..10 => format!("{}.{} s", time.as_secs(), time.subsec_millis() / 100),
        seconds => format!("{seconds} s"),
    }
}
