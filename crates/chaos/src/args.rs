//! What the program is called with.

use std::num::NonZeroU32;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::plan::Transport;
use crate::planted::{self, Bugs};
use crate::schedule::Keep;

/// Breaks the real programs while they close a month, and checks that nothing was lost, doubled or
/// early.
///
/// A schedule is drawn from a seed: what happens, to whom, and after how many events. The same seed
/// draws the same schedule; what the operating system and the server make of it is theirs.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Args {
    /// The schedules to run
    #[arg(long, value_name = "A..B", default_value = "1..11", value_parser = seeds)]
    pub(crate) seeds: Range<u64>,
    /// End after so many minutes, with the schedule that is under way
    #[arg(long, value_name = "M")]
    pub(crate) minutes: Option<u64>,
    /// Instead of schedules: each failpoint alone, the program killed and the caller answered with
    /// an error, at its first hit
    #[arg(long)]
    pub(crate) single: bool,
    /// With `--single`: at each of the first three hits, and with a delay, too
    #[arg(long, requires = "single")]
    pub(crate) thorough: bool,
    /// With `--single`: only failpoints whose names begin with this
    #[arg(long, value_name = "NAME", requires = "single")]
    pub(crate) point: Option<String>,
    /// Instead of schedules: kill each program and the server so many times, and measure how long
    /// until the next event is handled
    #[arg(long, value_name = "N", conflicts_with = "single")]
    pub(crate) recovery: Option<NonZeroU32>,
    /// Instead of schedules of the product as it is: count those until this planted bug is found,
    /// such as `B10`, or `all`
    #[arg(
        long,
        value_name = "BUG",
        value_parser = planted::known,
        conflicts_with_all = ["single", "recovery"]
    )]
    pub(crate) planted: Option<Bugs>,
    /// What carries the log [default: the database, and NATS in each fourth schedule]
    #[arg(long, value_enum)]
    pub(crate) transport: Option<Transport>,
    /// How many customers a month is closed for
    #[arg(long, value_name = "N", default_value_t = 240)]
    pub(crate) accounts: u32,
    /// Schedules at once
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(crate) parallel: usize,
    /// Where the programs lie, if they were built before: work on the source does not disturb a
    /// long run then
    #[arg(long, value_name = "FOLDER")]
    pub(crate) programs: Option<PathBuf>,
    /// Where the logs of a schedule that failed are kept
    #[arg(long, value_name = "FOLDER", default_value = "target/chaos")]
    pub(crate) folder: PathBuf,
    /// Keep those of all schedules
    #[arg(long)]
    pub(crate) keep: bool,
    /// Print what came of it as JSON, in the last line
    #[arg(long)]
    pub(crate) json: bool,
}

impl Args {
    pub(crate) fn keep(&self) -> Keep<'_> {
        Keep {
            folder: &self.folder,
            all: self.keep,
        }
    }

    pub(crate) fn time(&self) -> Option<Duration> {
        self.minutes
            .map(|minutes| Duration::from_secs(60 * minutes))
    }
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let wrong = || format!("write them as 1..11, the last one left out, not as {text:?}");
    let (first, end) = text.split_once("..").ok_or_else(wrong)?;
    let number = |text: &str| text.parse().map_err(|_| wrong());
    let seeds = number(first)?..number(end)?;
    match seeds.is_empty() {
        true => Err(format!("there is no seed in {text}")),
        false => Ok(seeds),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_arguments_do_not_contradict_each_other() {
        Args::command().debug_assert();
    }

    #[test]
    fn seeds_are_a_range() {
        assert_eq!(seeds("3..5"), Ok(3..5));
        for text in ["3", "5..3", "a..b", "..4"] {
            seeds(text).unwrap_err();
        }
    }
}
