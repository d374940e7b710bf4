//! Planted bugs: a harness is believed only if it finds them.

use std::path::Path;

use anyhow::Result;
use futures::StreamExt as _;

use crate::args::Args;
use crate::plan::Plan;
use crate::tally::Tally;
use crate::{EVENTS_PER_ACCOUNT, alone};

/// One of those that this product can have.
#[derive(Debug)]
struct Bug {
    code: &'static str,
    /// What its programs are told: the name of an engine's mutant, or its code.
    name: &'static str,
    /// What it gets wrong.
    what: &'static str,
}

const fn bug(code: &'static str, name: &'static str, what: &'static str) -> Bug {
    Bug { code, name, what }
}

const BUGS: [Bug; 10] = [
    bug(
        "B03",
        "LateOnesForgotten",
        "what commits late is left out, as by a cursor on ids",
    ),
    bug(
        "B06",
        "B06",
        "a position is committed before the effects of its events",
    ),
    bug(
        "B07",
        "B07",
        "effects are committed before the position, in transactions of their own",
    ),
    bug("B08", "B08", "a payment has another key at each try"),
    bug(
        "B09",
        "B09",
        "a payment is marked as sent only after the call",
    ),
    bug("B10", "B10", "no answer is taken for a failure"),
    bug("B14", "B14", "an invoice's number is from a sequence"),
    bug(
        "S01",
        "IdsBeforeLock",
        "an event's id is drawn before its key is locked",
    ),
    bug(
        "S02",
        "OneRound",
        "two events of a key are called for at once",
    ),
    bug(
        "S03",
        "KeysNotBlocked",
        "later events of a key do not wait for the one in trouble",
    ),
];

/// What finds no bug by itself: that something does not come to rest says not why.
const NO_INVARIANT: [&str; 3] = ["X2", "liveness", "no verdict"];

/// Some of them.
#[derive(Debug, Clone)]
pub(crate) struct Bugs(Vec<&'static Bug>);

pub(crate) fn known(text: &str) -> Result<Bugs, String> {
    let chosen = BUGS
        .iter()
        .filter(|bug| text == "all" || bug.code == text || bug.name == text);
    let chosen: Vec<&Bug> = chosen.collect();
    if chosen.is_empty() {
        let known = BUGS.iter().map(|bug| format!("{}: {}", bug.code, bug.what));
        let known: Vec<String> = known.collect();
        return Err(format!("there are:\n  {}", known.join("\n  ")));
    }
    Ok(Bugs(chosen))
}

/// Runs the seeds with each bug until an invariant finds it. One that none finds is a violation: of
/// the harness.
pub(crate) async fn hunt(
    args: &Args,
    programs: &Path,
    Bugs(bugs): &Bugs,
    tally: &mut Tally,
) -> Result<()> {
    for bug in bugs {
        let found = seeds_until_found(args, programs, bug).await?;
        tally.planted(bug.code, found);
    }
    Ok(())
}

async fn seeds_until_found(args: &Args, programs: &Path, bug: &Bug) -> Result<Option<u32>> {
    let tries = (1..).zip(args.seeds.clone());
    let mut done = futures::stream::iter(tries)
        .map(async |(nth, seed)| {
            let plan = Plan::drawn(
                seed,
                (args.accounts * EVENTS_PER_ACCOUNT).into(),
                args.transport,
            );
            let outcome = alone(args, programs, &plan, Some(bug.name)).await;
            (nth, plan, outcome)
        })
        .buffered(args.parallel);
    while let Some((nth, plan, outcome)) = done.next().await {
        let violations = outcome?.violations;
        let by = codes(&violations);
        if !by.is_empty() {
            eprintln!(
                "{}: found by schedule {nth}, {plan}: {}",
                bug.code,
                by.join(" ")
            );
            return Ok(Some(nth));
        }
        match violations.first() {
            Some(first) => eprintln!("{}: not found by {plan}, though {first}", bug.code),
            None => eprintln!("{}: not found by {plan}", bug.code),
        }
    }
    Ok(None)
}

/// The invariants that were violated.
fn codes(violations: &[String]) -> Vec<&str> {
    let codes = violations
        .iter()
        .filter_map(|violation| violation.split_once(": "));
    let codes = codes.map(|(code, _)| code);
    codes.filter(|code| !NO_INVARIANT.contains(code)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_nothing_comes_to_rest_finds_no_bug() {
        let violations = [
            "X2: relay 1 does not stop".to_owned(),
            "I3: see month-close.log".to_owned(),
            "liveness: the close does not end".to_owned(),
        ];

        assert_eq!(codes(&violations), ["I3"]);
        assert!(codes(&violations[2..]).is_empty());
    }
}
