//! Planted bugs: a harness is believed only if it finds them.

use std::path::Path;

use anyhow::Result;

use crate::args::Args;
use crate::plan::Plan;
use crate::tally::Tally;
use crate::{EVENTS_PER_ACCOUNT, alone};

/// Those that this product can have, and what each gets wrong.
const BUGS: [(&str, &str); 7] = [
    (
        "B06",
        "a position is committed before the effects of its events",
    ),
    (
        "B07",
        "effects are committed before the position, in transactions of their own",
    ),
    ("B08", "a payment has another key at each try"),
    ("B10", "no answer is taken for a failure"),
    ("B14", "an invoice's number is from a sequence"),
    ("B17", "a commit does not wait for the disk"),
    (
        "B19",
        "an account is held while a payment's outcome is unknown",
    ),
];

/// Some of them.
#[derive(Debug, Clone)]
pub(crate) struct Bugs(Vec<&'static str>);

pub(crate) fn known(text: &str) -> Result<Bugs, String> {
    let all = BUGS.iter().map(|(bug, _)| *bug);
    let chosen: Vec<&str> = all.filter(|bug| text == "all" || *bug == text).collect();
    if chosen.is_empty() {
        let known: Vec<String> = BUGS
            .iter()
            .map(|(bug, what)| format!("{bug}: {what}"))
            .collect();
        return Err(format!("there are:\n  {}", known.join("\n  ")));
    }
    Ok(Bugs(chosen))
}

/// Runs the seeds with each bug until a schedule finds it. One that none finds is a violation: of
/// the harness.
pub(crate) async fn hunt(
    args: &Args,
    programs: &Path,
    Bugs(bugs): &Bugs,
    tally: &mut Tally,
) -> Result<()> {
    for bug in bugs {
        let mut found = None;
        for (nth, seed) in (1..).zip(args.seeds.clone()) {
            let plan = Plan::drawn(seed, (args.accounts * EVENTS_PER_ACCOUNT).into());
            let outcome = alone(args, programs, &plan, Some(bug)).await?;
            if let Some(first) = outcome.violations.first() {
                eprintln!("{bug}: found by schedule {nth}: {first}");
                found = Some(nth);
                break;
            }
            eprintln!("{bug}: not by {plan}");
        }
        tally.planted(bug, found);
    }
    Ok(())
}
