//! Events that are tried again, for a person.

use std::io::{self, Write as _};

use anyhow::Result;
use outbox::delivery;
use sqlx::PgPool;

use crate::dead::instant;

pub(crate) async fn list(pool: &PgPool, consumer: Option<String>, limit: u32) -> Result<()> {
    let found = delivery::retrying(pool, consumer.as_deref(), limit.into()).await?;
    let mut out = io::stdout().lock();
    for one in &found {
        let (event, topic, key) = (one.event_id, &one.topic, one.key);
        writeln!(out, "{event}  {topic} for {}, key {key}", one.consumer)?;
        let next = match one.next_at {
            Some(at) => format!("the next is due at {}", instant(at)),
            None => "one is under way".to_owned(),
        };
        let since = instant(one.parked_at);
        writeln!(
            out,
            "    in trouble since {since}, attempts: {}, {next}",
            one.attempt
        )?;
        writeln!(
            out,
            "    {}",
            one.error.as_deref().unwrap_or("not tried yet")
        )?;
    }
    let number = found.len();
    Ok(writeln!(
        out,
        "{number} shown; later events of their keys wait behind them"
    )?)
}
