//! Dead letters: look at them, give them another chance once the cause is gone, or give them up.

use std::io::{self, Write as _};

use anyhow::{Result, bail};
use chrono::{DateTime, Utc};
use outbox::Event;
use outbox::delivery::dead::{self, Choice, DeadLetter};
use serde_json::Value;
use sqlx::PgPool;
use uuid::Uuid;

use crate::command::DeadCommand;

pub(crate) async fn run(pool: &PgPool, command: DeadCommand) -> Result<()> {
    match command {
        DeadCommand::List { which, limit } => list(pool, &which.into(), limit.into(), "dead").await,
        DeadCommand::Show { event } => show(pool, event).await,
        DeadCommand::Redrive { which, doing, rate } => {
            let choice = Choice::from(which);
            let Some(by) = doing.by() else {
                let what = "to be tried again, were this no dry run";
                return list(pool, &choice, 100, what).await;
            };
            let redriven = dead::redrive(pool, &choice, rate, &by).await?;
            refuse_unmet(&choice, redriven)?;
            say(&format!("{} will be tried again", letters_of(redriven)))
        }
        DeadCommand::Discard { which, doing } => {
            let choice = Choice::from(which);
            let Some(by) = doing.by() else {
                let what = "to be discarded, were this no dry run";
                return list(pool, &choice, 100, what).await;
            };
            let discarded = dead::discard(pool, &choice, &by).await?;
            refuse_unmet(&choice, discarded)?;
            say(&format!("{} discarded", letters_of(discarded)))
        }
    }
}

async fn list(pool: &PgPool, choice: &Choice, limit: i64, state: &str) -> Result<()> {
    let letters = dead::list(pool, choice, limit).await?;
    let count = dead::count(pool, choice).await?;
    refuse_unmet(choice, count)?;
    let mut out = io::stdout().lock();
    for letter in &letters {
        let DeadLetter { event, reason, .. } = letter;
        let (topic, key) = (&event.topic, event.key);
        writeln!(
            out,
            "{}  {topic} for {}, key {key}",
            event.event_id, letter.consumer
        )?;
        writeln!(out, "    {}", in_trouble(letter))?;
        writeln!(out, "    {reason}")?;
    }
    let shown = letters.len();
    if i64::try_from(shown).is_ok_and(|shown| shown < count) {
        writeln!(
            out,
            "{} {state}, of which {shown} are shown",
            letters_of(count)
        )?;
    } else {
        writeln!(out, "{} {state}", letters_of(count))?;
    }
    Ok(())
}

/// Who names events means these: that none of them is met is no success.
fn refuse_unmet(choice: &Choice, met: i64) -> Result<()> {
    if met == 0 && !choice.events.is_empty() {
        bail!(
            "none of the events named is a dead letter that was chosen: `outbox-relay dead list` \
             shows all"
        );
    }
    Ok(())
}

async fn show(pool: &PgPool, event_id: Uuid) -> Result<()> {
    let choice = Choice {
        events: vec![event_id],
        ..Choice::default()
    };
    let letters = dead::list(pool, &choice, 1_000).await?;
    let Some(first) = letters.first() else {
        bail!("no consumer has a dead letter of event {event_id}");
    };
    let mut out = io::stdout().lock();
    for (name, value) in facts(&first.event) {
        writeln!(out, "{name:<12}{value}")?;
    }
    // One that nobody can read is shown as it is: perhaps that is why the letter is dead.
    let payload = &first.event.payload;
    match payload.read::<Value>() {
        Ok(facts) => writeln!(out, "{}", serde_json::to_string_pretty(&facts)?)?,
        Err(error) => writeln!(out, "{}\nwhich cannot be read: {error}", payload.json())?,
    }
    for letter in &letters {
        writeln!(out, "{}: {}", letter.consumer, in_trouble(letter))?;
        writeln!(out, "    {}", letter.reason)?;
    }
    Ok(())
}

fn facts(event: &Event) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("event", event.event_id.to_string()),
        (
            "topic",
            format!("{} v{}", event.topic, event.schema_version),
        ),
        ("key", event.key.to_string()),
        ("appended", instant(event.at)),
        (
            "at",
            format!("tick {}, id {}", event.point.tick, event.point.id),
        ),
        ("actor", event.actor.clone()),
    ];
    let optional = [
        ("reason", event.reason.clone()),
        ("caused by", event.caused_by.map(|id| id.to_string())),
        ("request", event.request_id.map(|id| id.to_string())),
        ("trace", event.traceparent.clone()),
    ];
    facts.extend(
        optional
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    facts
}

fn in_trouble(letter: &DeadLetter) -> String {
    let since = instant(letter.parked_at);
    format!("in trouble since {since}, attempts: {}", letter.attempt)
}

pub(crate) fn instant(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S %Z").to_string()
}

fn letters_of(count: i64) -> String {
    match count {
        1 => "1 letter".to_owned(),
        _ => format!("{count} letters"),
    }
}

fn say(line: &str) -> Result<()> {
    Ok(writeln!(io::stdout(), "{line}")?)
}
