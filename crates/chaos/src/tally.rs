//! What a run came to, for people as it goes and as JSON at its end.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::failpoints;
use crate::schedule::Outcome;

/// So many schedules come to every failpoint.
const ENOUGH: u32 = 25;

#[derive(Debug, Default)]
pub(crate) struct Tally {
    schedules: u32,
    /// With so many events and faults that they count.
    counted: u32,
    events: i64,
    acknowledged: usize,
    kills: u32,
    faults: BTreeMap<&'static str, u32>,
    reached: BTreeSet<String>,
    violations: Vec<String>,
    /// Planted bugs, and after how many schedules each was found.
    planted: BTreeMap<&'static str, Option<u32>>,
    /// Milliseconds until all went on, by who was killed, in their order.
    recovery: BTreeMap<&'static str, Vec<u128>>,
}

impl Tally {
    /// Counts a schedule, and says what came of it.
    pub(crate) fn add(&mut self, plan: &str, outcome: Outcome) {
        self.schedules += 1;
        self.events += outcome.events;
        self.acknowledged += outcome.acknowledged;
        self.kills += outcome.kills;
        self.counted += u32::from(outcome.counts());
        for (class, number) in outcome.faults {
            *self.faults.entry(class).or_default() += number;
        }
        self.reached.extend(outcome.reached);
        let (events, took) = (outcome.events, outcome.took.as_secs());
        let fired = outcome.fired.len();
        let verdict = match outcome.violations.len() {
            0 => "held".to_owned(),
            number => format!("{number} VIOLATIONS"),
        };
        eprintln!("{plan}: {events} events, {fired} points fired, {took} s: {verdict}");
        for violation in outcome.violations {
            eprintln!("    {violation}");
            self.violations.push(format!("{plan}: {violation}"));
        }
    }

    pub(crate) fn recovery(&mut self, times: BTreeMap<&'static str, Vec<u128>>) {
        self.recovery = times;
    }

    pub(crate) fn planted(&mut self, bug: &'static str, found: Option<u32>) {
        self.planted.insert(bug, found);
        if found.is_none() {
            self.violations
                .push(format!("{bug}: planted, and not found"));
        }
    }

    /// After so many schedules a failpoint that no process came to is one that nothing tests.
    pub(crate) fn demand_all_reached(&mut self) {
        if self.counted < ENOUGH {
            return;
        }
        for name in failpoints::known() {
            if !self.reached.contains(name) {
                self.violations
                    .push(format!("the failpoint {name} was not reached"));
            }
        }
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }

    pub(crate) fn print(&self, as_json: bool) {
        let known: BTreeSet<&str> = failpoints::known().into_iter().collect();
        let is_unreached = |name: &&&str| !self.reached.contains(**name);
        let unreached: Vec<&&str> = known.iter().filter(is_unreached).collect();
        let reached = known.len() - unreached.len();
        eprintln!(
            "{} schedules ({} count), {} events, {} kills, {reached} of {} failpoints reached, {} \
             violations",
            self.schedules,
            self.counted,
            self.events,
            self.kills,
            known.len(),
            self.violations.len()
        );
        if as_json {
            let recovery = self.recovery.iter().map(|(who, times)| {
                let at =
                    |hundredths: usize| times.get((times.len() * hundredths).div_ceil(100) - 1);
                (
                    *who,
                    json!({ "p50": at(50), "p99": at(99), "kills": times.len() }),
                )
            });
            let recovery: BTreeMap<&str, Value> = recovery.collect();
            let printed = json!({
                "schedules": self.schedules,
                "counted": self.counted,
                "violations": self.violations,
                "events": self.events,
                "acknowledged": self.acknowledged,
                "kills": self.kills,
                "faults": self.faults,
                "planted": self.planted,
                "recovery_ms": recovery,
                "failpoints": { "known": known.len(), "reached": reached, "unreached": unreached },
            });
            println!("{printed}");
        }
    }
}
