//! The command line.

use std::path::PathBuf;

use chrono::{DateTime, NaiveDate, Utc};
use clap::{Args, Parser, Subcommand, ValueEnum};

/// Closes a month: usage becomes final invoices, and every consumer handles their events.
///
/// Without arguments it closes the oldest month that has ended, is open and has something to bill;
/// on an empty database it first imports the sample that comes with the product. It may be killed
/// at any moment and run again, and several may run at once: the month is closed once.
#[derive(Debug, Parser)]
#[command(name = "month-close", version, max_term_width = 100, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) site: SiteArgs,
    #[command(flatten)]
    pub(crate) close: CloseArgs,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

const EXIT_CODES: &str = "Exit codes:
  0  the month is closed and every check holds
  1  a check is violated, a dead letter exists, or the run could not finish
  2  the arguments or the input are wrong
  3  the month is closed, but accounts are listed as exceptions";

/// Where the database and the files are.
#[derive(Debug, Args)]
pub(crate) struct SiteArgs {
    /// Folder of the private database, the documents and the reports
    #[arg(
        long,
        env = "BILLING_DATA_DIR",
        default_value = ".billing",
        global = true
    )]
    pub(crate) data_dir: PathBuf,
    /// Your Postgres, 15 or newer: postgres://user:password@host/database.
    /// Without it a private one is started in the data folder
    #[arg(
        long,
        env = "BILLING_DATABASE_URL",
        global = true,
        hide_env_values = true
    )]
    pub(crate) database_url: Option<String>,
    /// Print one JSON object as the last line of stdout, and nothing else there.
    /// Its figures are of the month; `seconds` of this run; `events` counts what was appended to
    /// the log, published and handled while this run went on, by whomever
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// How to close.
#[derive(Debug, Args)]
pub(crate) struct CloseArgs {
    /// Import this usage file first
    #[arg(long, value_name = "FILE")]
    pub(crate) usage: Option<PathBuf>,
    /// Import this sample first. Without it, or a usage file, an empty database gets `focus`
    #[arg(long, value_enum, conflicts_with = "usage")]
    pub(crate) sample: Option<Sample>,
    /// How many accounts the sample `cloud` has: 1000 unless given. More than before adds the rest
    #[arg(
        long,
        value_name = "N",
        requires = "sample",
        allow_negative_numbers = true,
        value_parser = clap::value_parser!(u64).range(1..=100_000_000)
    )]
    pub(crate) accounts: Option<u64>,
    /// From which the sample `cloud` is drawn, 1 unless given: the same seed, the same customers
    #[arg(
        long,
        value_name = "S",
        requires = "sample",
        allow_negative_numbers = true
    )]
    pub(crate) seed: Option<u64>,
    /// Only import, and close nothing
    #[arg(long, conflicts_with_all = ["dry_run", "no_workers", "as_of", "by_account"])]
    pub(crate) import_only: bool,
    /// The file's format
    #[arg(long, value_enum, default_value_t = Format::Focus)]
    pub(crate) format: Format,
    /// What to do at a row that cannot be read
    #[arg(long, value_enum, default_value_t = BadRow::Stop)]
    pub(crate) on_bad_row: BadRow,
    /// The month to close, such as 2024-09
    #[arg(long, value_name = "YYYY-MM", value_parser = month)]
    pub(crate) period: Option<NaiveDate>,
    /// The instant that the figures are of; the period's end unless given
    #[arg(long, value_name = "RFC 3339", value_parser = instant)]
    pub(crate) as_of: Option<DateTime<Utc>>,
    /// Accounts per transaction, at most 500
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..=500))]
    pub(crate) chunk: u16,
    /// Transactions at once
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=32))]
    pub(crate) parallel: u16,
    /// Only write invoices and their events; leave the events to workers elsewhere
    #[arg(long)]
    pub(crate) no_workers: bool,
    /// Count mails instead of sending them
    #[arg(long)]
    pub(crate) count_mail: bool,
    /// Compute and print, then roll everything back
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// With --json: every account's sum
    #[arg(long, requires = "json")]
    pub(crate) by_account: bool,
}

/// What else the program can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run only the checks: exit 1 and the violating rows when one is violated
    Check,
    /// Print a month's report and write it as CSV
    Report {
        /// The month, such as 2024-09; the last one closed unless given
        #[arg(value_parser = month)]
        period: Option<NaiveDate>,
    },
}

/// The formats of usage files.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Format {
    /// FinOps Open Cost and Usage Specification 1.0, CSV
    Focus,
}

/// The samples that come with the product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sample {
    /// Real usage of September 2024: 66 accounts
    Focus,
    /// Customers of a cloud host, made up from a seed, from January 2026 on. A later --period
    /// records that month's usage of the same customers
    Cloud,
}

/// What to do at a bad row.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum BadRow {
    /// Name it and stop; rows before it stay imported, and a second run goes on
    Stop,
    /// List it, count it and go on. Where a row is longer than 4 MiB or a quote is not closed, its
    /// first line is the bad row
    Skip,
}

fn month(text: &str) -> Result<NaiveDate, String> {
    let well_formed = text.len() == 7 && text.starts_with(|first: char| first.is_ascii_digit());
    NaiveDate::parse_from_str(&format!("{text}-01"), "%Y-%m-%d")
        .ok()
        .filter(|_| well_formed)
        .ok_or_else(|| "a month looks like 2024-09".to_owned())
}

fn instant(text: &str) -> Result<DateTime<Utc>, String> {
    DateTime::parse_from_rfc3339(text)
        .map(|instant| instant.to_utc())
        .map_err(|_| "an instant looks like 2024-10-01T00:00:00Z".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_help_says_whose_events_are_counted() {
        let help = Cli::command().render_long_help().to_string();
        let help: Vec<_> = help.split_whitespace().collect();

        let told = "published and handled while this run went on, by whomever";
        assert!(help.join(" ").contains(told), "{}", help.join(" "));
    }

    #[test]
    fn a_month_is_four_digits_and_two() {
        assert_eq!(
            month("2024-09"),
            Ok(NaiveDate::from_ymd_opt(2024, 9, 1).unwrap())
        );
        for wrong in ["2024-13", "2024-9", "24-09", "2024-09-01", "+024-09", ""] {
            assert!(month(wrong).is_err(), "{wrong}");
        }
    }
}
