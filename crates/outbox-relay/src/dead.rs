//! Dead letters: look at them, and give them another chance once the cause is gone.

use std::io::{self, Write as _};

use anyhow::Result;
use billing_workers::site::Site;
use outbox::delivery::{self, DeadLetter, Redrive};

use crate::args::{DeadCommand, Which};

pub(crate) async fn run(site: &Site, command: DeadCommand) -> Result<()> {
    match command {
        DeadCommand::List(which) => {
            let letters = chosen(site, &which).await?;
            show(&letters, "dead")
        }
        DeadCommand::Redrive {
            which,
            dry_run: true,
        } => {
            let letters = chosen(site, &which).await?;
            show(&letters, "to be tried again, were this no dry run")
        }
        DeadCommand::Redrive {
            which,
            dry_run: false,
        } => {
            let which = Redrive {
                consumer: which.consumer,
                events: which.events,
            };
            let redriven = delivery::redrive(site.pool(), &which).await?;
            Ok(writeln!(
                io::stdout(),
                "{} will be tried again",
                letters_of(redriven)
            )?)
        }
    }
}

async fn chosen(site: &Site, which: &Which) -> Result<Vec<DeadLetter>> {
    let mut letters = delivery::dead_letters(site.pool(), i64::MAX).await?;
    letters.retain(|letter| is_chosen(letter, which));
    Ok(letters)
}

/// As `delivery::redrive` chooses.
fn is_chosen(letter: &DeadLetter, which: &Which) -> bool {
    which
        .consumer
        .as_ref()
        .is_none_or(|consumer| *consumer == letter.consumer)
        && (which.events.is_empty() || which.events.contains(&letter.event_id))
}

fn show(letters: &[DeadLetter], state: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    for letter in letters {
        let DeadLetter {
            consumer,
            event_id,
            topic,
            key,
            attempt,
            reason,
            parked_at,
        } = letter;
        let since = parked_at.format("%Y-%m-%d %H:%M:%S %Z");
        writeln!(out, "{event_id}  {topic} for {consumer}, key {key}")?;
        writeln!(out, "    in trouble since {since}, attempts: {attempt}")?;
        writeln!(out, "    {reason}")?;
    }
    writeln!(out, "{} {state}", letters_of(letters.len() as u64))?;
    Ok(())
}

fn letters_of(count: u64) -> String {
    match count {
        1 => "1 letter".to_owned(),
        _ => format!("{count} letters"),
    }
}
