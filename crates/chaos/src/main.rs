//! Chaos: the real programs close a month while things happen to them; afterwards nothing is lost,
//! doubled or early, or the seed and the plan are printed under which it was.
//!
//! Exit code 0: every check held. 1: one was violated, or the run failed. 2: called wrongly. 130,
//! 143: stopped by Ctrl-C, by SIGTERM.

mod args;
mod clients;
mod failpoints;
mod faults;
mod house;
mod links;
mod orders;
mod plan;
mod planted;
mod programs;
mod recovery;
mod running;
mod schedule;
mod shrink;
mod single;
mod site;
mod tally;

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use clap::Parser as _;
use futures::StreamExt as _;
use tokio::signal::unix::{SignalKind, signal};

use args::Args;
use house::House;
use plan::Plan;
use schedule::Outcome;
use site::Load;
use tally::Tally;

/// Events of a schedule for each customer, about.
const EVENTS_PER_ACCOUNT: u32 = 5;

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    // Dropped, a run ends what it has started.
    let ran = tokio::select! {
        ran = run(&args) => ran,
        code = stopped() => {
            eprintln!("stopped; what was started is ended");
            return ExitCode::from(code);
        }
    };
    match ran {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Ctrl-C, or a polite kill: with which code a shell would say so.
async fn stopped() -> u8 {
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => signal.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => 130,
        _ = terminated => 143,
    }
}

async fn run(args: &Args) -> Result<bool> {
    let programs = programs::build(args.programs.as_deref())?;
    let mut tally = Tally::default();
    if let Some(bugs) = &args.planted {
        planted::hunt(args, &programs, bugs, &mut tally).await?;
    } else if let Some(number) = args.recovery {
        tally.recovery(recovery::times(args, &programs, number).await?);
    } else if args.single {
        single::run(args, &programs, &mut tally).await?;
    } else {
        schedules(args, &programs, &mut tally).await?;
        tally.demand_all_reached();
    }
    tally.print(args.json);
    Ok(tally.is_clean())
}

async fn schedules(args: &Args, programs: &Path, tally: &mut Tally) -> Result<()> {
    let began = Instant::now();
    let in_time = |_: &u64| args.time().is_none_or(|time| began.elapsed() < time);
    let schedules = args.seeds.clone().take_while(in_time);
    let mut done = futures::stream::iter(schedules)
        .map(async |seed| {
            let plan = Plan::drawn(
                seed,
                (args.accounts * EVENTS_PER_ACCOUNT).into(),
                args.transport,
            );
            (alone(args, programs, &plan, None).await, plan)
        })
        .buffer_unordered(args.parallel);
    let mut failed = None;
    while let Some((outcome, plan)) = done.next().await {
        let outcome = outcome?;
        let holds = outcome.violations.is_empty();
        tally.add(&plan.to_string(), outcome);
        failed = failed.or((!holds).then_some(plan));
    }
    drop(done);
    if let Some(plan) = failed {
        eprintln!("leaving out faults of seed {}, one by one", plan.seed);
        let shrunk = shrink::shrunk(args, programs, &plan).await?;
        eprintln!("    what is left: {shrunk}");
    }
    Ok(())
}

/// A schedule with a server of its own, which may be killed.
async fn alone(
    args: &Args,
    programs: &Path,
    plan: &Plan,
    planted: Option<&'static str>,
) -> Result<Outcome> {
    let folder = tempfile::tempdir()?;
    let house = House::open(folder.path()).await?;
    let load = Load::of(plan, args, planted);
    schedule::run((&house, programs), plan, load, &args.keep()).await
}
