//! What the program is called with.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use gateway_sim::{GatewaySim, Profile};

/// A payment gateway with books of its own, which does what a card's token says.
///
/// The first line it prints is its address.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Args {
    /// The folder of the gateway's books
    #[arg(long, value_name = "DIR", default_value = "var/gateway-sim")]
    data_dir: PathBuf,

    /// Where to listen; with port 0, on the port of last time or on a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,

    /// If another gateway keeps the books of the folder, print its address and stand in line
    #[arg(long)]
    pub(crate) join: bool,

    /// Announce each result to this address
    #[arg(long, value_name = "URL", requires = "webhook_secret")]
    webhook_url: Option<String>,

    /// Sign what is announced with this secret
    #[arg(
        long,
        value_name = "SECRET",
        env = "GATEWAY_WEBHOOK_SECRET",
        hide_env_values = true
    )]
    webhook_secret: Option<String>,

    /// Pause so long after a webhook's first failure, and twice as long after each further one
    #[arg(long, value_name = "N", default_value_t = 1000)]
    webhook_pause_ms: u64,

    /// Answer each request so much later
    #[arg(long, value_name = "N", default_value_t = 0)]
    latency_ms: u64,

    /// Be like this kind of gateway
    #[arg(long, value_name = "NAME", default_value = "default", value_parser = profile)]
    profile: Profile,

    /// Forget used idempotency keys after this time; without it, when the profile says
    #[arg(long, value_name = "N")]
    key_lifetime_secs: Option<u64>,
}

impl Args {
    pub(crate) fn gateway(self) -> GatewaySim {
        let gateway = GatewaySim::at(self.data_dir)
            .listen(self.listen)
            .latency(Duration::from_millis(self.latency_ms))
            .webhook_first_pause(Duration::from_millis(self.webhook_pause_ms))
            .profile(self.profile);
        let gateway = match self.key_lifetime_secs {
            Some(secs) => gateway.key_lifetime(Duration::from_secs(secs)),
            None => gateway,
        };
        match (self.webhook_url, self.webhook_secret) {
            (Some(url), Some(secret)) => gateway.webhook(&url, &secret),
            _ => gateway,
        }
    }
}

fn profile(name: &str) -> Result<Profile, String> {
    Profile::named(name).ok_or_else(|| {
        let names = Profile::ALL.map(|profile| profile.name);
        format!("there are: {}", names.join(", "))
    })
}
