//! Making a restored log readable in its new cluster.

use std::io::{self, Write as _};

use anyhow::{Result, bail};
use outbox::GuardError;
use sqlx::PgPool;

use crate::command::Signature;

pub(crate) async fn run(pool: &PgPool, by: Signature) -> Result<()> {
    match outbox::refuse_unsafe_server(pool).await {
        Ok(()) => bail!("the log was written in this cluster: there is nothing to rebase"),
        Err(GuardError::Restored(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let rebased = outbox::rebase(pool, &by.into()).await?;
    let line = format!(
        "The log goes on here: tick {} holds the {} events that were in none yet",
        rebased.tick, rebased.events
    );
    Ok(writeln!(io::stdout(), "{line}")?)
}
