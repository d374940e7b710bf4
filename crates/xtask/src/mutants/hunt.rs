//! `cargo xtask mutants --hunt`: how many schedules the simulation needs to find each mutant.
//!
//! A mutant is found by the schedule in which an invariant that it breaks is the one that fails.
//! What else fails meanwhile is told and does not count.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::engine::{Engine, Ran};
use super::known::{KNOWN, Known, Simulated};

/// A test that runs the schedule of `OUTBOX_SEED` alone.
const SCHEDULE: &str = "simulation::schedules_of_the_first_quarter";

/// How long each mutant is hunted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) schedules: u64,
    /// After so many no further schedule begins.
    pub(crate) seconds: Option<u64>,
}

impl Default for Bounds {
    fn default() -> Self {
        let (schedules, seconds) = (25, None);
        Self { schedules, seconds }
    }
}

impl Bounds {
    /// Schedules 1, 2, …, each if it may begin by now.
    fn schedules(self) -> impl Iterator<Item = u64> {
        let began = Instant::now();
        let longest = self.seconds.map(Duration::from_secs);
        (1..=self.schedules).take_while(move |_| longest.is_none_or(|most| began.elapsed() < most))
    }
}

/// What the hunt for a mutant came to.
enum Hunted {
    /// After so many schedules, by this invariant.
    Found(u64, &'static str),
    /// In so many.
    NotFound(u64),
    /// Not hunted: what the simulation has not.
    Lacks(&'static str),
}

struct Hunt {
    mutant: &'static Known,
    hunted: Hunted,
    /// What failed beside, by seed.
    others: Vec<(u64, String)>,
}

/// Hunts each mutant in schedules 1, 2, …, prints a table and writes a report.
pub(super) fn run(engine: &Engine, bounds: Bounds, report: &Path) -> Result<()> {
    let mut hunts = Vec::new();
    println!("{:<19} {:>9}  invariant", "mutant", "schedules");
    for mutant in KNOWN {
        let hunt = one(engine, mutant, bounds)?;
        println!("{}", hunt.line());
        hunts.push(hunt.json());
    }
    let found = json!({ "schedules_max": bounds.schedules, "mutants": hunts });
    fs::write(report, format!("{found:#}\n"))
        .with_context(|| format!("could not write {}", report.display()))?;
    println!("The same as JSON: {}", report.display());
    Ok(())
}

fn one(engine: &Engine, mutant: &'static Known, bounds: Bounds) -> Result<Hunt> {
    let mut others = Vec::new();
    let invariants = match mutant.simulated {
        Simulated::Breaks(invariants) => invariants,
        Simulated::Lacks(what) => {
            let hunted = Hunted::Lacks(what);
            return Ok(Hunt {
                mutant,
                hunted,
                others,
            });
        }
    };
    let mut hunted = Hunted::NotFound(0);
    for seed in bounds.schedules() {
        hunted = Hunted::NotFound(seed);
        let number = seed.to_string();
        let environment = [("OUTBOX_MUTANT", mutant.name), ("OUTBOX_SEED", &number)];
        let Ran::Failed(said) = engine.run(&[SCHEDULE], &environment)? else {
            continue;
        };
        let broken = broken(&said);
        if let Some(its) = invariants.iter().find(|its| broken == Some(its)) {
            hunted = Hunted::Found(seed, its);
            break;
        }
        others.push((seed, broken.unwrap_or(&said).to_owned()));
    }
    Ok(Hunt {
        mutant,
        hunted,
        others,
    })
}

/// The invariant that a schedule says it broke.
fn broken(said: &str) -> Option<&str> {
    let (_, said) = said.split_once("broken: ")?;
    said.split_once(" (seed ").map(|(invariant, _)| invariant)
}

impl Hunt {
    fn line(&self) -> String {
        let (number, what) = match self.hunted {
            Hunted::Found(number, invariant) => (number.to_string(), invariant.to_owned()),
            Hunted::NotFound(number) => (format!("> {number}"), "not found".to_owned()),
            Hunted::Lacks(what) => ("-".to_owned(), format!("not simulated: {what}")),
        };
        let beside = match self.others.len() {
            0 => String::new(),
            number => format!("; {number} failed otherwise"),
        };
        format!("{:<19} {number:>9}  {what}{beside}", self.mutant.name)
    }

    fn json(&self) -> Value {
        let (mut invariant, mut found, mut missed, mut lacks) = (None, None, None, None);
        match self.hunted {
            Hunted::Found(number, its) => (found, invariant) = (Some(number), Some(its)),
            Hunted::NotFound(number) => missed = Some(number),
            Hunted::Lacks(what) => lacks = Some(what),
        }
        let others: Vec<Value> = (self.others.iter())
            .map(|(seed, said)| json!({ "seed": seed, "said": said }))
            .collect();
        json!({
            "mutant": self.mutant.name,
            "invariant": invariant,
            "found_after_schedules": found,
            "not_found_in_schedules": missed,
            "not_simulated": lacks,
            "failed_otherwise": others,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_invariant_is_what_the_schedule_names() {
        let said = "thread 'x' panicked at t.rs:1:1:\nbroken: everything is handled (seed 3, []\n";

        assert_eq!(broken(said), Some("everything is handled"));
        assert_eq!(broken("thread 'x' panicked: the host is gone"), None);
    }
}
