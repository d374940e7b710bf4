//! A schedule: a site at work, what happens to it, and what is to be seen afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use testkit::Trouble;
use tokio::task::JoinSet;

use crate::clients::{self, Journal};
use crate::failpoints;
use crate::faults;
use crate::house::House;
use crate::links;
use crate::orders;
use crate::plan::Plan;
use crate::site::{Load, Site};

/// How often the log is asked how far it is.
const LOOK: Duration = Duration::from_millis(20);
/// Faults fall within this, whatever the log does.
const FAULT_WITHIN: Duration = Duration::from_secs(60);
/// Clients whose site is whole again are answered.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);
const CLIENTS: u64 = 2;
const REFUNDS: i64 = 3;
/// Customers that open an account through the interface, for each of so many of the sample.
const SAMPLE_PER_CLIENT: u32 = 10;
/// So many rows of a violated check are told.
const ROWS: usize = 2;

/// What came of a schedule.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) violations: Vec<String>,
    pub(crate) events: i64,
    /// Faults that fell, by class.
    pub(crate) faults: BTreeMap<&'static str, u32>,
    /// Processes that ended while the site was at work, and how.
    pub(crate) ends: Vec<String>,
    /// How many of these by a signal.
    pub(crate) kills: u32,
    pub(crate) reached: BTreeSet<String>,
    pub(crate) fired: BTreeSet<String>,
    pub(crate) acknowledged: usize,
    pub(crate) took: Duration,
}

/// A schedule with fewer events, or fewer faults, is too easy to count.
const EVENTS_MIN: i64 = 1_000;
const FAULTS_MIN: u32 = 3;

impl Outcome {
    pub(crate) fn counts(&self) -> bool {
        self.events >= EVENTS_MIN && self.faults.values().sum::<u32>() >= FAULTS_MIN
    }
}

/// Where logs go, and whether those of a schedule that held do too.
#[derive(Debug)]
pub(crate) struct Keep<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) all: bool,
}

/// Runs a plan. A violation leaves the logs.
pub(crate) async fn run(
    (house, programs): (&House, &Path),
    plan: &Plan,
    load: Load,
    keep: &Keep<'_>,
) -> Result<Outcome> {
    let began = Instant::now();
    let mut site = Site::open(house, programs, load).await?;
    fs::write(site.failpoints().join("plan"), plan.points())?;
    let mut outcome = Outcome::default();
    let journal = Journal::default();
    let worked = work(house, &mut site, plan, &journal, &mut outcome).await;
    let found = look_at(&mut site, &journal).await;
    let found = found.unwrap_or_else(|error| vec![format!("no verdict: {error:#}")]);
    outcome.violations.extend(found);
    // What does not come to rest may be the checks' doing: a close that finds one violated fails.
    outcome
        .violations
        .extend(worked.err().map(|error| format!("liveness: {error:#}")));
    outcome.ends = std::mem::take(&mut site.ends);
    outcome.kills = site.kills;
    outcome.acknowledged = journal.acknowledged();
    outcome.reached = failpoints::reached(&site.failpoints());
    outcome.fired = failpoints::fired(&site.failpoints());
    for class in plan.fired(&outcome.fired) {
        *outcome.faults.entry(class).or_default() += 1;
    }
    let lost = site.links.lost();
    if lost > 0 {
        outcome.faults.insert(Trouble::LostAck.class(), lost);
    }
    outcome.took = began.elapsed();
    site.pool.close().await;
    if keep.all || !outcome.violations.is_empty() {
        leave(
            &site,
            &outcome,
            &keep.folder.join(format!("seed-{}", plan.seed)),
        )?;
    }
    Ok(outcome)
}

async fn work(
    house: &House,
    site: &mut Site,
    plan: &Plan,
    journal: &Journal,
    outcome: &mut Outcome,
) -> Result<()> {
    let mut clients = JoinSet::new();
    let each = site.load().accounts / SAMPLE_PER_CLIENT / 2;
    let api = site.links.address(links::CLIENTS).to_string();
    for client in 0..CLIENTS {
        let seed = plan.seed * CLIENTS + client;
        clients.spawn(clients::customers(
            api.clone(),
            journal.clone(),
            seed,
            each.max(2),
        ));
    }
    let refunds = clients::refunds(api, journal.clone(), site.pool.clone(), REFUNDS);
    clients.spawn(refunds);
    site.close()?;
    for (after, fault) in &plan.faults {
        let began = Instant::now();
        while site.events().await.is_none_or(|events| events < *after)
            && began.elapsed() < FAULT_WITHIN
            && !site.is_closed
        {
            site.look_after()?;
            outbox::clock::pause(LOOK).await;
        }
        // On a site that has nothing to do any more it would be none.
        let is_at_work = !site.is_closed;
        if faults::carry_out(fault, house, site).await? && is_at_work {
            *outcome.faults.entry(fault.class()).or_default() += 1;
        }
    }
    // What lies in wait goes on lying there until all is done, and fires once.
    site.until_quiet().await?;
    let began = Instant::now();
    while !clients.is_empty() {
        ensure!(began.elapsed() < ANSWERED_WITHIN, "clients get no answer");
        site.look_after()?;
        while let Some(ended) = clients.try_join_next() {
            ended?.context("a client was turned away")?;
        }
        outbox::clock::pause(LOOK).await;
    }
    site.until_quiet().await?;
    orders::ask_again(site).await?;
    // Retention takes some away.
    outcome.events = site.events().await.unwrap_or_default();
    match plan.orders {
        true => orders::give(site, journal, plan.is_single).await,
        false => Ok(()),
    }
}

/// Stops everything, and looks: the product's own checks, with the gateway's books, and the
/// journal.
async fn look_at(site: &mut Site, journal: &Journal) -> Result<Vec<String>> {
    let mut violations = Vec::new();
    if let Err(error) = site.stop().await {
        violations.push(format!("X2: {error:#}"));
    }
    let (is_clean, printed, told) = site.run("month-close", &["check", "--json"]).await?;
    let checked: Value = serde_json::from_str(&printed).unwrap_or_default();
    let codes = checked["checks"]["codes"].as_array();
    for code in codes.into_iter().flatten() {
        let code = code.as_str().unwrap_or("?");
        violations.push(format!("{code}: {}", rows_of(code, &told)));
    }
    if !is_clean && violations.is_empty() {
        violations.push(format!("the checks did not run: {printed}"));
    }
    violations.extend(journal.violations(&site.pool).await?);
    Ok(violations)
}

/// What the checks said of one: its sentence, and the first of the rows that violate it.
fn rows_of(code: &str, told: &str) -> String {
    let from = told
        .lines()
        .skip_while(|line| !line.trim_start().starts_with(code));
    let said: Vec<&str> = from.take(1 + ROWS).map(str::trim).collect();
    said.join(" | ")
}

/// Keeps the logs.
fn leave(site: &Site, outcome: &Outcome, keep: &Path) -> Result<()> {
    fs::create_dir_all(keep)?;
    for entry in fs::read_dir(site.folder.path())?.flatten() {
        let from: PathBuf = entry.path();
        if from.extension().is_some_and(|kind| kind == "log") {
            fs::copy(&from, keep.join(entry.file_name()))?;
        }
    }
    let told = outcome.violations.join("\n") + "\n" + &outcome.ends.join("\n");
    fs::write(keep.join("violations.txt"), told)?;
    Ok(())
}
