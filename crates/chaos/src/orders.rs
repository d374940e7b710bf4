//! What operators order, on a site at work: a replay, a rebase, an end to an event that cannot be
//! handled, a month that was missed, and retention. Days pass in between.
//!
//! An order that is killed is given again, as people do.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use sqlx::{AssertSqlSafe, PgPool};
use testkit::until;

use crate::clients::{self, Journal};
use crate::failpoints;
use crate::links::CLIENTS;
use crate::site::Site;

/// Real usage of a month long before the sample's.
const USAGE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../samples/focus/focus_2024-09.csv"
);
const MISSED: [&str; 2] = ["--period", "2024-09"];
const BECAUSE: [&str; 4] = ["--reason", "chaos", "--by", "chaos"];
const WITHIN: Duration = Duration::from_secs(90);
/// Far from the ids and seeds of all else.
const LATER: u64 = 1 << 40;
/// How many customers come, so that all parts of the log go on.
const CUSTOMERS: u32 = 4;

/// Gives all of them, one after the other, on a site that has come to rest. Where a fault is tried
/// alone, those up to the one that it hits.
pub(crate) async fn give(site: &mut Site, journal: &Journal, is_single: bool) -> Result<()> {
    for step in [
        Step::Replay,
        Step::GiveUp,
        Step::Hurry,
        Step::Rebase,
        Step::CatchUp,
        Step::Retire,
    ] {
        step.take(site, journal).await?;
        site.until_quiet().await?;
        if is_single && !failpoints::fired(&site.failpoints()).is_empty() {
            break;
        }
    }
    Ok(())
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Replay,
    GiveUp,
    Hurry,
    Rebase,
    CatchUp,
    Retire,
}

impl Step {
    async fn take(self, site: &mut Site, journal: &Journal) -> Result<()> {
        match self {
            Self::Replay => order(site, "replay", &["replay", "documents", "--from", "1"]).await,
            Self::GiveUp => give_up(site).await,
            Self::Hurry => hurry(site).await,
            Self::Rebase => rebase(site).await,
            Self::CatchUp => {
                turn_over(&site.pool).await?;
                catch_up(site).await
            }
            Self::Retire => {
                welcome(site, journal).await?;
                site.until_quiet().await?;
                retire(site).await
            }
        }
    }
}

async fn order(site: &mut Site, name: &str, words: &[&str]) -> Result<()> {
    let words: Vec<&str> = words.iter().copied().chain(BECAUSE).collect();
    site.order(name, "outbox-relay", &words).await
}

/// An event that no consumer can read: a dead letter, which is tried again in vain and then given
/// up for good. It names an invoice, as the checks demand, and something else under the same name.
async fn give_up(site: &mut Site) -> Result<()> {
    let unreadable = r#"
        insert into outbox.event (
            event_id, topic, schema_version, key, part, lane, payload, actor
        )
        select gen_random_uuid(), 'dunning.due', 1, key, part, lane,
            format('{"invoice_id": 7, "invoice_id": %s}', payload -> 'invoice_id')::json, 'chaos'
        from outbox.event where topic = 'invoice.finalized' order by id limit 1
        returning key"#;
    let key = sqlx::query_scalar(unreadable).fetch_one(&site.pool).await?;
    until_dead(site, key).await?;
    order(site, "redrive", &["dead", "redrive"]).await?;
    until_dead(site, key).await?;
    order(site, "discard", &["dead", "discard"]).await
}

async fn until_dead(site: &mut Site, key: uuid::Uuid) -> Result<()> {
    let pool = site.pool.clone();
    until("the event to be given up", WITHIN, async || {
        site.look_after().ok()?;
        let at_once = "update outbox.delivery set next_at = clock_timestamp()
            where key = $1 and state = 'retry' and next_at > clock_timestamp()";
        let hurried = sqlx::query(at_once).bind(key).execute(&pool);
        hurried.await.ok()?;
        let dead = "select count(*) = 1 from outbox.delivery where key = $1 and state = 'dead'";
        let dead = sqlx::query_scalar::<_, bool>(dead)
            .bind(key)
            .fetch_one(&pool);
        dead.await.ok()?.then_some(())
    })
    .await
}

/// Days pass, as far as timers and schedules know: what is dunned is reminded of, charged again and
/// held, and the checks are run.
async fn hurry(site: &mut Site) -> Result<()> {
    for _ in 0..3 {
        let slot = "update outbox.schedule set next_at = next_at - interval '1 hour'";
        sqlx::query(slot).execute(&site.pool).await?;
        let now = "update outbox.timer set due_at = clock_timestamp()";
        sqlx::query(now).execute(&site.pool).await?;
        until_fired(site).await?;
        site.until_quiet().await?;
    }
    Ok(())
}

/// Unknown outcomes are asked for at growing intervals; here at once, and so often.
const LOOK_UPS: u32 = 6;

/// Hours pass, as far as payments with an unknown outcome know.
pub(crate) async fn ask_again(site: &mut Site) -> Result<()> {
    for _ in 0..LOOK_UPS {
        let at_once = "update outbox.timer set due_at = clock_timestamp()
            where topic in ('payment.unresolved', 'refund.unresolved')";
        let asked = sqlx::query(at_once).execute(&site.pool).await?;
        if asked.rows_affected() == 0 {
            break;
        }
        until_fired(site).await?;
        site.until_quiet().await?;
    }
    Ok(())
}

async fn until_fired(site: &mut Site) -> Result<()> {
    let pool = site.pool.clone();
    until("timers to fire", WITHIN, async || {
        site.look_after().ok()?;
        let fired = "select not exists (
                select from outbox.timer where due_at <= clock_timestamp())
            and not exists (select from outbox.schedule where next_at <= clock_timestamp())";
        let fired = sqlx::query_scalar::<_, bool>(fired).fetch_one(&pool);
        fired.await.ok()?.then_some(())
    })
    .await
}

/// The log is taken for one of another cluster, as after a dump was restored.
async fn rebase(site: &mut Site) -> Result<()> {
    site.stop().await?;
    let elsewhere = "update outbox.meta set system_identifier = system_identifier + 1";
    sqlx::query(elsewhere).execute(&site.pool).await?;
    order(site, "rebase", &["rebase"]).await?;
    site.start_programs()
}

/// The log goes on in its second partition.
async fn turn_over(pool: &PgPool) -> Result<()> {
    let next = "select setval('outbox.event_id', 10000000)";
    sqlx::query(next).execute(pool).await?;
    Ok(())
}

/// Closes a month that was missed: first with a price that is spoiled and an account whose invoice
/// the database refuses, then with nothing wrong.
async fn catch_up(site: &mut Site) -> Result<()> {
    let import = ["--usage", USAGE, "--import-only"];
    site.order("import", "month-close", &import).await?;
    let refused = format!(
        "select min(account_id::text) from billing.usage_event
        where usage_month = '2024-09-01' and account_id not in (
            select account_id from billing.usage_event where price_id = {RAREST})"
    );
    let refused = sqlx::query_scalar::<_, String>(AssertSqlSafe(refused));
    let refused = refused.fetch_one(&site.pool).await?;
    for (currency, check) in [
        (
            "EUR",
            format!("add constraint chaos check (account_id <> '{refused}') not valid"),
        ),
        ("USD", "drop constraint chaos".to_owned()),
    ] {
        let price =
            format!("update billing.price set currency = '{currency}' where price_id = {RAREST}");
        ensure!(change(&site.pool, price).await? == 1, "no price to spoil");
        change(&site.pool, format!("alter table billing.invoice {check}")).await?;
        site.order("close", "month-close", &MISSED).await?;
    }
    Ok(())
}

/// The price that the fewest accounts of the month use.
const RAREST: &str = "(
    select price_id from billing.usage_event where usage_month = '2024-09-01'
    group by price_id order by count(distinct account_id), price_id limit 1)";

async fn change(pool: &PgPool, change: String) -> Result<u64> {
    let changed = sqlx::query(AssertSqlSafe(change)).execute(pool);
    Ok(changed.await?.rows_affected())
}

/// Customers come meanwhile.
async fn welcome(site: &mut Site, journal: &Journal) -> Result<()> {
    let api = site.links.address(CLIENTS).to_string();
    let seed = LATER + site.load().seed;
    let customers = tokio::spawn(clients::customers(api, journal.clone(), seed, CUSTOMERS));
    while !customers.is_finished() {
        site.look_after()?;
        outbox::clock::pause(Duration::from_millis(20)).await;
    }
    customers.await?.context("a client was turned away")
}

/// The first partition is dropped, once it is old and everybody is past it.
async fn retire(site: &mut Site) -> Result<()> {
    let mut tx = site.pool.begin().await?;
    // The log says no to such a thing otherwise, and nobody waits for days here.
    for age in [
        "alter table outbox.event_0 disable trigger user",
        "update outbox.event_0 set at = at - interval '3 days'",
    ] {
        sqlx::query(age).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    until("the first partition to go", WITHIN, async || {
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
