//! What operators order: a replay, a rebase, retention and an import of usage, on a site at work.
//!
//! An order that is killed is given again, as people do.

use std::time::Duration;

use anyhow::{Context as _, Result};
use testkit::until;

use crate::clients::{self, Journal};
use crate::links::CLIENTS;
use crate::site::Site;

/// Real usage of a month long before the sample's.
const USAGE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../samples/focus/focus_2024-09.csv"
);
const BECAUSE: [&str; 4] = ["--reason", "chaos", "--by", "chaos"];
const READS_ON_WITHIN: Duration = Duration::from_secs(60);
/// Far from the ids and seeds of all else.
const LATER: u64 = 1 << 40;
/// The first id of the log's second partition.
const NEXT_PARTITION: i64 = 10_000_000;
/// Nobody waits for days here; the log says no to such a thing otherwise.
const AGE: [&str; 2] = [
    "alter table outbox.event_0 disable trigger user",
    "update outbox.event_0 set at = at - interval '3 days'",
];

/// Gives all of them, one after the other, on a site that has come to rest.
pub(crate) async fn give(site: &mut Site, journal: &Journal) -> Result<()> {
    let replay = ["replay", "documents", "--from", "1"];
    let replay: Vec<&str> = replay.into_iter().chain(BECAUSE).collect();
    site.order("replay", "outbox-relay", &replay).await?;
    site.until_quiet().await?;
    rebase(site).await?;
    let import = ["--usage", USAGE, "--import-only"];
    site.order("import", "month-close", &import).await?;
    site.until_quiet().await?;
    retire(site, journal).await
}

/// The log is taken for one of another cluster, as after a dump was restored.
async fn rebase(site: &mut Site) -> Result<()> {
    site.stop().await?;
    let elsewhere = "update outbox.meta set system_identifier = system_identifier + 1";
    sqlx::query(elsewhere).execute(&site.pool).await?;
    let rebase: Vec<&str> = ["rebase"].into_iter().chain(BECAUSE).collect();
    site.order("rebase", "outbox-relay", &rebase).await?;
    site.start_programs()
}

/// The log goes on in its second partition, and the first is dropped once everybody is past it.
async fn retire(site: &mut Site, journal: &Journal) -> Result<()> {
    sqlx::query("select setval('outbox.event_id', $1)")
        .bind(NEXT_PARTITION)
        .execute(&site.pool)
        .await?;
    let api = site.links.address(CLIENTS).to_string();
    let seed = LATER + site.load().seed;
    // Enough for every part of the log to be read on from there.
    let customers = tokio::spawn(clients::customers(api, journal.clone(), seed, 4));
    while !customers.is_finished() {
        site.look_after()?;
        outbox::clock::pause(Duration::from_millis(20)).await;
    }
    customers.await?.context("a client was turned away")?;
    site.until_quiet().await?;
    let mut tx = site.pool.begin().await?;
    for age in AGE {
        sqlx::query(age).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    until("the first partition to go", READS_ON_WITHIN, async || {
        let retire = ["retention", "--keep", "1", "--drop"];
        site.order("retention", "outbox-relay", &retire)
            .await
            .ok()?;
        let gone = "select to_regclass('outbox.event_0') is null";
        let gone = sqlx::query_scalar::<_, bool>(gone).fetch_one(&site.pool);
        gone.await.ok()?.then_some(())
    })
    .await
}
