//! `cargo xtask mutants --hunt`: how many schedules the simulation needs to find each mutant.
//!
//! A mutant is found by the schedule in which the invariant that it breaks is the one that fails.
//! What else fails meanwhile is told and does not count.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::engine::{Engine, Ran};
use super::known::{KNOWN, Known, Simulated};

/// A test that runs the schedule of `OUTBOX_SEED` alone.
const SCHEDULE: &str = "simulation::schedules_of_the_first_quarter";

/// What the hunt for a mutant came to.
enum Hunted {
    /// After so many schedules.
    Found(u64),
    NotFound,
    /// Not hunted: what the simulation has not.
    Lacks(&'static str),
}

struct Hunt {
    mutant: &'static Known,
    hunted: Hunted,
    /// What failed beside, by seed.
    others: Vec<(u64, String)>,
}

/// Hunts each mutant in schedules 1, 2, … up to `schedules`, prints a table and writes a report.
pub(super) fn run(engine: &Engine, schedules: u64, report: &Path) -> Result<()> {
    let mut hunts = Vec::new();
    println!("{:<19} {:>9}  invariant", "mutant", "schedules");
    for mutant in KNOWN {
        let hunt = one(engine, mutant, schedules)?;
        println!("{}", hunt.line(schedules));
        hunts.push(hunt.json());
    }
    let found = json!({ "schedules_max": schedules, "mutants": hunts });
    fs::write(report, format!("{found:#}\n"))
        .with_context(|| format!("could not write {}", report.display()))?;
    println!("The same as JSON: {}", report.display());
    Ok(())
}

fn one(engine: &Engine, mutant: &'static Known, schedules: u64) -> Result<Hunt> {
    let mut others = Vec::new();
    let invariant = match mutant.simulated {
        Simulated::Breaks(invariant) => invariant,
        Simulated::Lacks(what) => {
            let hunted = Hunted::Lacks(what);
            return Ok(Hunt {
                mutant,
                hunted,
                others,
            });
        }
    };
    let mut hunted = Hunted::NotFound;
    for seed in 1..=schedules {
        let number = seed.to_string();
        let environment = [("OUTBOX_MUTANT", mutant.name), ("OUTBOX_SEED", &number)];
        let Ran::Failed(said) = engine.run(&[SCHEDULE], &environment)? else {
            continue;
        };
        match broken(&said) {
            Some(broken) if broken == invariant => {
                hunted = Hunted::Found(seed);
                break;
            }
            other => others.push((seed, other.unwrap_or(&said).to_owned())),
        }
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
    fn line(&self, schedules: u64) -> String {
        let (number, what) = match (&self.hunted, &self.mutant.simulated) {
            (Hunted::Found(number), Simulated::Breaks(invariant)) => {
                (number.to_string(), (*invariant).to_owned())
            }
            (Hunted::Lacks(what), _) => ("-".to_owned(), format!("not simulated: {what}")),
            _ => (format!("> {schedules}"), "not found".to_owned()),
        };
        let beside = match self.others.len() {
            0 => String::new(),
            number => format!("; {number} failed otherwise"),
        };
        format!("{:<19} {number:>9}  {what}{beside}", self.mutant.name)
    }

    fn json(&self) -> Value {
        let (invariant, lacks) = match self.mutant.simulated {
            Simulated::Breaks(invariant) => (Some(invariant), None),
            Simulated::Lacks(what) => (None, Some(what)),
        };
        let schedules = match self.hunted {
            Hunted::Found(number) => Some(number),
            Hunted::NotFound | Hunted::Lacks(_) => None,
        };
        let others: Vec<Value> = (self.others.iter())
            .map(|(seed, said)| json!({ "seed": seed, "said": said }))
            .collect();
        json!({
            "mutant": self.mutant.name,
            "invariant": invariant,
            "found_after_schedules": schedules,
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
