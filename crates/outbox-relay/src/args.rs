//! What can be said on the command line. Each setting of a site has a variable too.

use std::net::{AddrParseError, IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use billing_workers::site::SiteConfig;
use billing_workers::traces::OtlpUrl;
use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, ValueEnum};

use crate::command::Command;

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
    /// Address of this host on which it is woken; other hosts must reach it
    #[arg(long, env = "BILLING_WAKE_HOST", default_value_t = Ipv4Addr::LOCALHOST.into())]
    #[arg(value_name = "ADDRESS", value_parser = one_of_this_host)]
    pub(crate) wake_host: IpAddr,
    /// Where Prometheus finds the metrics, such as `127.0.0.1:9464` [default: nowhere]
    #[arg(long, env = "BILLING_METRICS", value_name = "ADDRESS")]
    pub(crate) metrics: Option<SocketAddr>,
    /// When the checks run, as a cron expression in UTC, or `off`; the program that started last is
    /// right
    #[arg(
        long,
        env = "BILLING_CHECKS",
        default_value = "17 * * * *",
        value_name = "CRON"
    )]
    checks: String,
    /// Collector of traces that takes OTLP over HTTP, such as `http://localhost:4318` [default:
    /// none]
    #[arg(long, env = "BILLING_OTLP_URL", value_name = "URL")]
    pub(crate) otlp_url: Option<OtlpUrl>,
    #[command(flatten)]
    pub(crate) transport: TransportArgs,
}

impl RunArgs {
    /// When the checks run, if they do. An empty variable is how a compose file says "not at all".
    pub(crate) fn checks(&self) -> Option<&str> {
        let cron = self.checks.trim();
        (!matches!(cron, "" | "off")).then_some(cron)
    }
}

/// The address is written down for others to send to, and nobody can send to "any".
fn one_of_this_host(text: &str) -> Result<IpAddr, String> {
    let address: IpAddr = text
        .parse()
        .map_err(|error: AddrParseError| error.to_string())?;
    if address.is_unspecified() {
        return Err("name the address that other hosts reach this one by".to_owned());
    }
    Ok(address)
}

#[derive(Debug, Args)]
pub(crate) struct TransportArgs {
    /// What carries the log from the relay to the workers
    #[arg(long, env = "BILLING_TRANSPORT", value_enum, default_value_t = Carrier::Postgres)]
    pub(crate) transport: Carrier,
    /// NATS server with JetStream, such as `tls://nats.example.com` or `tls://user:password@host`
    #[arg(
        long,
        env = "BILLING_NATS_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    #[arg(required_if_eq("transport", "nats"))]
    pub(crate) nats_url: Option<String>,
    /// File with the credentials of a NATS user (`.creds`), or the seed of an nkey
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
    fn the_checks_run_every_hour_unless_told_otherwise() {
        let checks = |line| {
            let cli = parse(line).unwrap();
            cli.run.checks().map(str::to_owned)
        };
        assert_eq!(checks("outbox-relay"), Some("17 * * * *".to_owned()));
        assert_eq!(
            checks("outbox-relay --checks @daily"),
            Some("@daily".to_owned())
        );
        assert_eq!(checks("outbox-relay --checks off"), None);
        assert_eq!(checks("outbox-relay --checks="), None);
    }

    #[test]
    fn nats_needs_a_url() {
        let error = parse("outbox-relay --transport nats").unwrap_err();
        assert!(error.to_string().contains("--nats-url"), "{error}");
        parse("outbox-relay --transport nats --nats-url nats://localhost").unwrap();
    }

    #[test]
    fn it_is_woken_on_an_address_that_others_can_send_to() {
        let cli = parse("outbox-relay --wake-host 192.0.2.7").unwrap();
        assert_eq!(cli.run.wake_host.to_string(), "192.0.2.7");
        for any in ["0.0.0.0", "::"] {
            let error = parse(&format!("outbox-relay --wake-host {any}")).unwrap_err();
            assert!(error.to_string().contains("other hosts"), "{error}");
        }
    }
}
