//! Recovery: how long after `kill -9` the next event is handled, or the next request answered.
//!
//! One relay and one worker, so that no other hides the gap, and each is started again at once, as
//! a supervisor does. An event is appended right after the kill.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use outbox::{NewEvent, Origin, Outbox};
use serde_json::json;
use sqlx::PgPool;

use crate::args::Args;
use crate::clients;
use crate::faults;
use crate::house::House;
use crate::plan::{Fault, Plan};
use crate::site::{Load, Site};

const WHO: [(&str, Fault); 4] = [
    ("api", Fault::Kill("api")),
    ("relay", Fault::Kill("relay 1")),
    ("worker", Fault::Kill("worker 1")),
    ("postgres", Fault::Server),
];
const ACCOUNTS: u32 = 24;
const WITHIN: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(1);

/// Milliseconds until all goes on, by who was killed: each so many times, in the order of their
/// lengths.
pub(crate) async fn times(
    args: &Args,
    programs: &Path,
    number: NonZeroU32,
) -> Result<BTreeMap<&'static str, Vec<u128>>> {
    let folder = tempfile::tempdir()?;
    let house = House::open(folder.path()).await?;
    let load = Load {
        accounts: ACCOUNTS,
        is_lean: true,
        ..Load::of(&Plan::without_faults(), args, None)
    };
    let mut site = Site::open(&house, programs, load).await?;
    site.close()?;
    site.until_quiet().await?;
    let mut times = BTreeMap::new();
    for (who, fault) in WHO {
        let mut taken = Vec::new();
        for _ in 0..number.get() {
            taken.push(killed(&house, &mut site, (who, &fault)).await?.as_millis());
        }
        taken.sort_unstable();
        eprintln!("{who}: goes on after {taken:?} ms");
        times.insert(who, taken);
    }
    site.stop().await?;
    Ok(times)
}

/// Kills one, and waits until its work goes on.
async fn killed(house: &House, site: &mut Site, (who, fault): (&str, &Fault)) -> Result<Duration> {
    handled(site).await.context("before the kill")?;
    let began = Instant::now();
    ensure!(
        faults::carry_out(fault, house, site).await?,
        "nobody to kill"
    );
    match who {
        "api" => answered(site).await?,
        _ => handled(site).await?,
    }
    Ok(began.elapsed())
}

/// Appends an event that asks for nothing, and waits until it was handled.
async fn handled(site: &mut Site) -> Result<()> {
    let (pool, began) = (site.pool.clone(), Instant::now());
    let mut id = None;
    loop {
        ensure!(began.elapsed() < WITHIN, "nothing is handled");
        site.look_after()?;
        // The server may be away.
        let is_done = match id {
            None => {
                id = appended(&pool).await.ok();
                false
            }
            Some(id) => is_handled(&pool, id).await.unwrap_or(false),
        };
        if is_done {
            return Ok(());
        }
        outbox::clock::pause(LOOK).await;
    }
}

/// A reminder of an invoice that was paid: there is nothing to do about it.
async fn appended(pool: &PgPool) -> Result<i64> {
    let paid = "select invoice_id::text, account_id from billing.invoice
        where state = 'paid' order by invoice_id limit 1";
    let (invoice, account) = sqlx::query_as::<_, (String, _)>(paid)
        .fetch_one(pool)
        .await?;
    let mut tx = Outbox::new(pool.clone()).begin(Origin::of("chaos")).await?;
    let locked = tx.locked(account);
    let payload = json!({ "invoice_id": invoice, "account_id": account });
    let event = tx.append(locked, NewEvent::new("dunning.due", 1, payload));
    tx.commit().await?;
    let id = sqlx::query_scalar("select id from outbox.event where event_id = $1");
    Ok(id.bind(event).fetch_one(pool).await?)
}

async fn is_handled(pool: &PgPool, id: i64) -> Result<bool> {
    let handled = "select exists (
        select from outbox.event
        join outbox.consumer on name = 'dunning'
        join outbox.position using (consumer, generation)
        where event.id = $1 and position.lane = event.lane
            and position.shard = event.part % consumer.shards and position.id >= event.id)";
    Ok(sqlx::query_scalar(handled).bind(id).fetch_one(pool).await?)
}

async fn answered(site: &mut Site) -> Result<()> {
    let began = Instant::now();
    while !clients::is_answered(&site.api).await {
        ensure!(began.elapsed() < WITHIN, "the interface does not answer");
        site.look_after()?;
        outbox::clock::pause(LOOK).await;
    }
    Ok(())
}
