//! What can be said on the command line. Each setting has a variable too.

use std::net::SocketAddr;
use std::path::PathBuf;

use billing_workers::site::SiteConfig;
use billing_workers::traces::OtlpUrl;
use clap::Parser;

/// Serves accounts, invoices, history and reports over HTTP, until it is told to stop.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Args {
    /// Address to listen on; there are no API keys yet, so keep it where only you can reach it
    #[arg(
        long,
        env = "BILLING_LISTEN",
        default_value = "127.0.0.1:8080",
        value_name = "ADDRESS"
    )]
    pub(crate) listen: SocketAddr,
    /// Postgres server to use; without one, a private one runs under the data folder
    #[arg(
        long,
        env = "BILLING_DATABASE_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    database_url: Option<String>,
    /// Folder of the private server and of the documents
    #[arg(
        long,
        env = "BILLING_DATA_DIR",
        default_value = ".billing",
        value_name = "FOLDER"
    )]
    data_dir: PathBuf,
    /// Collector of traces that takes OTLP over HTTP, such as `http://localhost:4318` [default:
    /// none]
    #[arg(long, env = "BILLING_OTLP_URL", value_name = "URL")]
    pub(crate) otlp_url: Option<OtlpUrl>,
}

impl Args {
    pub(crate) fn site(&self) -> SiteConfig {
        SiteConfig {
            database_url: self.database_url.clone(),
            data_dir: self.data_dir.clone(),
        }
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
}
