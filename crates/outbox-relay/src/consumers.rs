//! The consumers: what they are, and orders to them.

use std::io::{self, Write as _};

use anyhow::Result;
use outbox::operation::{self, Paused};
use outbox::status::{self, ConsumerStatus};
use sqlx::PgPool;

use crate::command::{Pause, Replay, Reshard, Signature};
use crate::status::pause_text;

pub(crate) async fn show(pool: &PgPool, json: bool) -> Result<()> {
    let consumers = status::status(pool).await?.consumers;
    let mut out = io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, &consumers)?;
        return Ok(writeln!(out)?);
    }
    for consumer in &consumers {
        writeln!(out, "{}", line(consumer))?;
        writeln!(out, "    reads {}", consumer.topics.join(", "))?;
    }
    Ok(())
}

fn line(consumer: &ConsumerStatus) -> String {
    let mut words = vec![
        match consumer.processes {
            0 => "runs nowhere".to_owned(),
            1 => "runs in 1 process".to_owned(),
            number => format!("runs in {number} processes"),
        },
        format!("{} shards", consumer.shards),
        match consumer.on_dead.as_str() {
            "skip" => "goes on without its dead letters".to_owned(),
            _ => "a dead letter halts its key".to_owned(),
        },
    ];
    if consumer.replayable {
        words.push("may be replayed".to_owned());
    }
    if consumer.generation > 0 {
        words.push(match consumer.generation {
            1 => "replayed or resharded once".to_owned(),
            times => format!("replayed or resharded {times} times"),
        });
    }
    words.extend(consumer.paused.map(pause_text));
    format!("{}: {}", consumer.name, words.join(", "))
}

pub(crate) async fn pause(pool: &PgPool, pause: Pause) -> Result<()> {
    let paused = operation::pause(pool, &pause.name, pause.during, &pause.by.into()).await?;
    let name = pause.name;
    let line = match paused {
        Paused::UntilResumed => {
            format!("{name} is paused; `outbox-relay resume {name}` lets it go on")
        }
        Paused::Until(_) => format!("{name} is {}", pause_text(paused)),
    };
    Ok(writeln!(io::stdout(), "{line}")?)
}

pub(crate) async fn resume(pool: &PgPool, name: &str, by: Signature) -> Result<()> {
    let line = match operation::resume(pool, name, &by.into()).await? {
        true => format!("{name} goes on"),
        false => format!("{name} was not paused"),
    };
    Ok(writeln!(io::stdout(), "{line}")?)
}

pub(crate) async fn replay(pool: &PgPool, replay: Replay) -> Result<()> {
    let start = replay.place.start().expect("one of the two is required");
    let name = replay.name;
    let after = operation::replay(pool, &name, start, &replay.by.into()).await?;
    let (tick, id) = (after.tick, after.id);
    let line = format!("{name} reads again what came after {tick}/{id}");
    Ok(writeln!(io::stdout(), "{line}")?)
}

pub(crate) async fn reshard(pool: &PgPool, reshard: Reshard) -> Result<()> {
    let Reshard {
        name,
        shards,
        doing,
    } = reshard;
    let (done, verb) = match doing.by() {
        Some(by) => (
            operation::reshard(pool, &name, shards, &by).await?,
            "is read",
        ),
        None => (
            operation::try_reshard(pool, &name, shards).await?,
            "would be read",
        ),
    };
    let line = format!(
        "{name} {verb} in {} shards instead of {}; {} events that its slower shards had not \
         handled are handled one by one",
        done.to, done.from, done.parked
    );
    Ok(writeln!(io::stdout(), "{line}")?)
}
