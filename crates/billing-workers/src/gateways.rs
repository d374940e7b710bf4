//! Gateways: which ones a site has, under the names that payment methods carry.
//!
//! With `BILLING_GATEWAY_URL` the site has the gateway of that address, named [`HOUSE`]. With
//! nothing configured it has the simulator of its data folder, named [`SIM`]. A site has one or the
//! other: a card of one gateway is never asked for at another, because its name finds nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use billing::gateway::Gateways;
use gateway_sim::{GatewaySim, Profile, Running, StartError};

mod house;

pub use house::{House, UrlError};

/// The name of the gateway that was configured.
pub const HOUSE: &str = "house";
/// The name of the simulator.
pub const SIM: &str = "sim";

/// How long a call waits for its answer, unless told otherwise.
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest that can be asked for: a worker gives a payment up after two calls of this length,
/// and a stop of the program waits for them.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(20);

/// Where the gateways of a site are.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// `BILLING_GATEWAY_URL`: the gateway to use; the simulator when absent.
    pub url: Option<String>,
    /// `BILLING_GATEWAY_SECRET`: what its webhooks are signed with; none is believed without it.
    pub secret: Option<Secret>,
    /// `BILLING_GATEWAY_TIMEOUT_MS`: how long a call waits for its answer.
    pub timeout: Duration,
    /// `BILLING_GATEWAY_PROFILE`: of which kind the gateway is, by the name of a profile.
    pub profile: Profile,
    /// `BILLING_WEBHOOK_URL`: where the simulator announces results, signed with the secret.
    pub webhook_url: Option<String>,
    /// The folder of the simulator's books.
    pub simulator_dir: PathBuf,
}

impl GatewayConfig {
    /// What the variables of the environment say, and the data folder. An empty variable is as good
    /// as none.
    ///
    /// # Errors
    /// [`GatewayError::Timeout`].
    pub fn from_variables(data_dir: &Path) -> Result<Self, GatewayError> {
        let variable = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
        let timeout = variable("BILLING_GATEWAY_TIMEOUT_MS");
        Ok(Self {
            url: variable("BILLING_GATEWAY_URL"),
            secret: variable("BILLING_GATEWAY_SECRET").and_then(Secret::new),
            timeout: timeout.map_or(Ok(TIMEOUT), |text| read_timeout(&text))?,
            profile: variable("BILLING_GATEWAY_PROFILE")
                .map_or(Ok(Profile::DEFAULT), |name| read_profile(&name))?,
            webhook_url: variable("BILLING_WEBHOOK_URL"),
            simulator_dir: data_dir.join("gateway"),
        })
    }
}

/// What webhooks are signed with. It is not shown.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// The secret; none when it is empty, because anybody could sign with that.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Option<Self> {
        Some(text.into()).filter(|text| !text.is_empty()).map(Self)
    }

    fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

fn read_profile(name: &str) -> Result<Profile, GatewayError> {
    Profile::named(name).ok_or_else(|| GatewayError::Profile(name.to_owned()))
}

fn read_timeout(text: &str) -> Result<Duration, GatewayError> {
    let timeout = text.parse().ok().map(Duration::from_millis);
    let fits = |timeout: &Duration| !timeout.is_zero() && *timeout <= TIMEOUT_MAX;
    timeout
        .filter(fits)
        .ok_or_else(|| GatewayError::Timeout(text.to_owned()))
}

/// Why there are no gateways.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The address is none.
    #[error("BILLING_GATEWAY_URL cannot be used")]
    Url(#[from] UrlError),
    /// The timeout is not one, or too long.
    #[error(
        "BILLING_GATEWAY_TIMEOUT_MS is {0:?}: give milliseconds from 1 to {max}",
        max = TIMEOUT_MAX.as_millis()
    )]
    Timeout(String),
    /// There is no such profile.
    #[error(
        "BILLING_GATEWAY_PROFILE is {0:?}: there are {names}",
        names = Profile::ALL.map(|profile| profile.name).join(", ")
    )]
    Profile(String),
    /// The simulator would announce results that nobody could believe.
    #[error(
        "BILLING_WEBHOOK_URL is set: set BILLING_GATEWAY_SECRET as well, to sign webhooks with"
    )]
    NoSecret,
    /// The simulator did not start.
    #[error("could not start the simulated gateway; BILLING_GATEWAY_URL names a real one")]
    Simulator(#[from] StartError),
}

impl GatewayError {
    /// Whether the caller said something that cannot be used, as opposed to trouble on the way.
    #[must_use]
    pub fn is_bad_input(&self) -> bool {
        matches!(
            self,
            Self::Url(_) | Self::Timeout(_) | Self::Profile(_) | Self::NoSecret
        )
    }
}

/// The gateways of a site, open. To be closed, or dropped, when nobody calls them any more.
#[derive(Debug)]
pub struct OpenGateways {
    gateways: Gateways,
    simulator: Option<Running>,
}

impl OpenGateways {
    /// The gateways.
    #[must_use]
    pub fn gateways(&self) -> &Gateways {
        &self.gateways
    }

    /// Leaves the simulator, which stops unless another program goes on with it.
    pub async fn close(self) {
        if let Some(simulator) = self.simulator {
            simulator.stop().await;
        }
    }
}

/// Opens the gateways of a site, and starts or joins the simulator where none is configured.
///
/// # Errors
/// [`GatewayError`].
pub async fn open(config: &GatewayConfig) -> Result<OpenGateways, GatewayError> {
    if let Some(url) = &config.url {
        let house = House::at(url)?.configured(config);
        return Ok(OpenGateways {
            gateways: Gateways::default().with(HOUSE, Arc::new(house)),
            simulator: None,
        });
    }
    let simulator = simulator(config)?.start_or_join().await?;
    let house = House::of_simulator(simulator.address()).configured(config);
    Ok(OpenGateways {
        gateways: Gateways::default().with(SIM, Arc::new(house)),
        simulator: Some(simulator),
    })
}

fn simulator(config: &GatewayConfig) -> Result<GatewaySim, GatewayError> {
    let simulator = GatewaySim::at(&config.simulator_dir).profile(config.profile);
    match (&config.webhook_url, &config.secret) {
        (None, _) => Ok(simulator),
        (Some(url), Some(secret)) => Ok(simulator.webhook(url, secret.reveal())),
        (Some(_), None) => Err(GatewayError::NoSecret),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_milliseconds_and_not_too_long() {
        assert_eq!(read_timeout("1500").unwrap(), Duration::from_millis(1500));
        assert_eq!(read_timeout("20000").unwrap(), TIMEOUT_MAX);
        for text in ["", "0", "-1", "20001", "10s", "1.5"] {
            let error = read_timeout(text).unwrap_err();

            assert!(error.is_bad_input(), "{text}");
            assert!(error.to_string().contains("from 1 to 20000"), "{error}");
        }
    }

    #[test]
    fn a_profile_is_one_of_those_that_are_told() {
        assert_eq!(read_profile("no-keys").unwrap().name, "no-keys");

        let error = read_profile("none").unwrap_err();

        assert!(error.is_bad_input());
        assert!(error.to_string().contains("no-keys, short-keys"), "{error}");
    }

    #[test]
    fn an_empty_secret_is_none_and_no_secret_is_shown() {
        assert!(Secret::new("").is_none());

        let secret = Secret::new("whsec").unwrap();

        assert_eq!(format!("{secret:?}"), "Secret");
    }
}
