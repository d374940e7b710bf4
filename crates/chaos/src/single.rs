//! Single faults: each failpoint alone, at its first hit, or at its first three.

use std::path::Path;

use anyhow::Result;
use futures::StreamExt as _;

use crate::args::Args;
use crate::failpoints;
use crate::house::House;
use crate::plan::{Fault, Plan};
use crate::schedule;
use crate::site::Load;
use crate::tally::Tally;

/// A few of everything: what is looked for is whether it happens, not how often.
const ACCOUNTS: u32 = 24;
/// So many that some cards are declined, which operators' orders are about.
const ACCOUNTS_WITH_ORDERS: u32 = 120;
const ACTIONS: [&str; 3] = ["kill", "error", "delay(500)"];
const HITS: u64 = 3;

/// Runs each, and demands that it was reached and fired.
pub(crate) async fn run(args: &Args, programs: &Path, tally: &mut Tally) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let house = House::open(folder.path()).await?;
    let points = failpoints::singly().into_iter();
    let is_wanted = |name: &str| args.point.as_ref().is_none_or(|of| name.starts_with(of));
    let points = points.filter(|(name, _)| is_wanted(name));
    let (actions, hits) = match args.thorough {
        true => (&ACTIONS[..], HITS),
        false => (&ACTIONS[..2], 1),
    };
    let each = points.flat_map(|(name, kind)| {
        let faults = (1..=hits).flat_map(|hit| actions.iter().map(move |action| (*action, hit)));
        faults.map(move |(action, hit)| (Fault::Point(name, action, hit), kind))
    });
    let mut done = futures::stream::iter(each.enumerate())
        .map(async |(nth, fault)| {
            let seed = u64::try_from(nth).unwrap_or_default();
            let plan = Plan::single(seed, fault);
            let at = (&house, programs);
            let load = Load {
                accounts: match plan.orders {
                    true => ACCOUNTS_WITH_ORDERS,
                    false => ACCOUNTS,
                },
                seed: 1,
                ..Load::of(&plan, args, None)
            };
            (schedule::run(at, &plan, load, &args.keep()).await, plan)
        })
        .buffer_unordered(args.parallel);
    while let Some((outcome, plan)) = done.next().await {
        let mut outcome = outcome?;
        // How often a failpoint is hit is a matter of chance; that it is, is not.
        if outcome.fired.is_empty() && plan.is_of_first_hit() {
            outcome
                .violations
                .push("the failpoint was not reached".to_owned());
        }
        tally.add(&plan.to_string(), outcome);
    }
    Ok(())
}
