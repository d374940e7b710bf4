//! What can be said on the command line. Each setting of a site has a variable too.

use std::path::PathBuf;

use billing_workers::site::SiteConfig;
use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use uuid::Uuid;

/// Publishes committed events and runs the consumers, until it is told to stop.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) run: RunArgs,
    #[command(flatten)]
    pub(crate) site: SiteArgs,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Args)]
pub(crate) struct SiteArgs {
    /// Postgres server to use; without one, a private one runs under the data folder
    #[arg(
        long,
        env = "BILLING_DATABASE_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    #[arg(global = true)]
    database_url: Option<String>,
    /// Folder of the private server and of the documents
    #[arg(
        long,
        env = "BILLING_DATA_DIR",
        default_value = ".billing",
        value_name = "FOLDER"
    )]
    #[arg(global = true)]
    data_dir: PathBuf,
}

impl SiteArgs {
    pub(crate) fn config(self) -> SiteConfig {
        SiteConfig {
            database_url: self.database_url,
            data_dir: self.data_dir,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// What this process does
    #[arg(long, value_enum, default_value_t = Role::All)]
    pub(crate) role: Role,
    /// Which consumers to run, separated by commas [default: all]
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    #[arg(value_parser = PossibleValuesParser::new(billing_workers::names()))]
    pub(crate) consumers: Option<Vec<String>>,
    /// Folder of the invoices' files [default: `documents` in the data folder]
    #[arg(long, env = "BILLING_DOCUMENTS_DIR", value_name = "FOLDER")]
    pub(crate) documents_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) transport: TransportArgs,
}

#[derive(Debug, Args)]
pub(crate) struct TransportArgs {
    /// What carries the log from the relay to the workers
    #[arg(long, env = "BILLING_TRANSPORT", value_enum, default_value_t = Carrier::Postgres)]
    pub(crate) transport: Carrier,
    /// NATS server with JetStream, such as `tls://nats.example.com`
    #[arg(
        long,
        env = "BILLING_NATS_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    #[arg(required_if_eq("transport", "nats"))]
    pub(crate) nats_url: Option<String>,
    /// File with the credentials of a NATS user
    #[arg(long, env = "BILLING_NATS_CREDENTIALS", value_name = "FILE")]
    pub(crate) nats_credentials: Option<PathBuf>,
    /// File with the certificates to trust; it makes TLS a must
    #[arg(long, env = "BILLING_NATS_CA", value_name = "FILE")]
    pub(crate) nats_ca: Option<PathBuf>,
    /// What the streams' names begin with; each database that feeds a NATS cluster has its own
    #[arg(
        long,
        env = "BILLING_NATS_PREFIX",
        default_value = "billing",
        value_name = "NAME"
    )]
    pub(crate) nats_prefix: String,
    /// On how many servers a new stream is kept
    #[arg(
        long,
        env = "BILLING_NATS_REPLICAS",
        default_value_t = 1,
        value_name = "NUMBER"
    )]
    pub(crate) nats_replicas: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Carrier {
    /// The database itself
    Postgres,
    /// NATS JetStream
    Nats,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Publish events only
    Relay,
    /// Run consumers only; a relay must run elsewhere
    Worker,
    /// Both
    All,
}

impl Role {
    pub(crate) fn publishes(self) -> bool {
        matches!(self, Self::Relay | Self::All)
    }

    pub(crate) fn consumes(self) -> bool {
        matches!(self, Self::Worker | Self::All)
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Events that a consumer gave up on
    #[command(subcommand)]
    Dead(DeadCommand),
    /// Drop history that is old enough and that nobody needs
    Retention {
        /// How many days an event stays at least
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(i32).range(1..))]
        keep: i32,
        /// Folder for the events, as compressed lines of JSON, before they go
        #[arg(long, value_name = "FOLDER", required_unless_present = "drop")]
        export: Option<PathBuf>,
        /// Let them go without
        #[arg(long, conflicts_with = "export")]
        drop: bool,
    },
    /// Let the log go on in this database server, after a dump was restored here
    Rebase {
        /// Why, for the record
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Who, for the record
        #[arg(long, env = "USER", default_value = "operator", value_name = "NAME")]
        actor: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeadCommand {
    /// List them, oldest first
    List(Which),
    /// Give them a new set of attempts
    Redrive {
        #[command(flatten)]
        which: Which,
        /// Only say which ones it would be
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Which {
    /// Of this consumer [default: of all]
    #[arg(long, value_name = "NAME")]
    pub(crate) consumer: Option<String>,
    /// These events [default: all]
    #[arg(long = "event", num_args = 1.., value_name = "ID")]
    pub(crate) events: Vec<Uuid>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;
    use clap::error::ErrorKind;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_arguments_do_not_contradict_each_other() {
        Cli::command().debug_assert();
    }

    #[test]
    fn everything_runs_unless_told_otherwise() {
        let cli = parse("outbox-relay").unwrap();

        assert_eq!(cli.run.role, Role::All);
        assert_eq!(cli.run.consumers, None);
    }

    #[test]
    fn an_unknown_consumer_is_answered_with_the_known_ones() {
        let error = parse("outbox-relay --consumers documents,mails").unwrap_err();

        assert_eq!(error.kind(), ErrorKind::InvalidValue);
        let text = error.to_string();
        assert!(
            text.contains("collection-report") && text.contains("documents"),
            "{text}"
        );
    }

    #[test]
    fn nats_needs_a_url() {
        let error = parse("outbox-relay --transport nats").unwrap_err();
        assert!(error.to_string().contains("--nats-url"), "{error}");
        parse("outbox-relay --transport nats --nats-url nats://localhost").unwrap();
    }

    #[test]
    fn history_goes_into_a_file_or_away_and_somebody_says_which() {
        assert!(parse("outbox-relay retention --keep 400").is_err());
        assert!(parse("outbox-relay retention --keep 0 --drop").is_err());
        assert!(parse("outbox-relay retention --keep 400 --export x --drop").is_err());
        parse("outbox-relay retention --keep 400 --export x").unwrap();
        parse("outbox-relay retention --keep 400 --drop").unwrap();
    }

    #[test]
    fn dead_letters_are_chosen_by_consumer_and_id() {
        let id = Uuid::nil();
        let line = format!("outbox-relay dead redrive --consumer documents --event {id} --dry-run");

        let Some(Command::Dead(DeadCommand::Redrive { which, dry_run })) =
            parse(&line).unwrap().command
        else {
            panic!("another command");
        };

        assert_eq!(which.consumer.as_deref(), Some("documents"));
        assert_eq!((which.events, dry_run), (vec![id], true));
    }
}
