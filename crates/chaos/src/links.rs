//! The links of a site: each program's to the database, and those of HTTP.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;

use testkit::{Ack, Far, Link, Trouble};

/// What the workers ask the gateway.
pub(crate) const GATEWAY: &str = "gateway";
/// What the gateway announces.
pub(crate) const WEBHOOKS: &str = "webhooks";
/// What clients ask the interface.
pub(crate) const CLIENTS: &str = "clients";

/// What relays and workers ask the NATS server.
pub(crate) const NATS: &str = "nats";

/// The links, by what asks.
#[derive(Debug)]
pub(crate) struct Links {
    /// Of the database itself.
    url: String,
    /// Where the gateway tells its address.
    announced: PathBuf,
    links: BTreeMap<String, Link>,
    /// When trouble ends, and on which link.
    ends: Vec<(Instant, String)>,
}

impl Links {
    /// To an interface and to the gateway of a folder; those to a database come one by one.
    pub(crate) fn between(url: String, api: &str, gateway: &Path) -> Result<Self> {
        let mut links = BTreeMap::new();
        // Nobody is there until the gateway says where it is.
        for (name, address) in [(GATEWAY, "127.0.0.1:9"), (WEBHOOKS, api), (CLIENTS, api)] {
            let link = Link::to(Far::Tcp(address.to_owned()), Ack::Answer)?;
            links.insert(name.to_owned(), link);
        }
        Ok(Self {
            url,
            announced: gateway.join("gateway-sim.address"),
            links,
            ends: Vec::new(),
        })
    }

    /// The database of a program, over a link of its own.
    pub(crate) fn database(&mut self, program: &str) -> Result<String> {
        if let Some(link) = self.links.get(program) {
            return Ok(link.over(&self.url));
        }
        let link = Link::to_postgres(&self.url)?;
        let url = link.over(&self.url);
        self.links.insert(program.to_owned(), link);
        Ok(url)
    }

    /// A NATS server, over a link.
    pub(crate) fn nats(&mut self, address: String) -> Result<SocketAddr> {
        let link = Link::to(Far::Tcp(address), Ack::Published)?;
        let address = link.address;
        self.links.insert(NATS.to_owned(), link);
        Ok(address)
    }

    /// Where one of HTTP is asked.
    pub(crate) fn address(&self, name: &str) -> SocketAddr {
        self.links[name].address
    }

    /// A gateway tells where it is, whoever runs it by now; everybody is told to ask the link.
    pub(crate) fn follow_gateway(&self) -> Result<()> {
        let link = &self.links[GATEWAY];
        let ours = format!("http://{}", link.address);
        let told = fs::read_to_string(&self.announced).unwrap_or_default();
        let told = told.trim();
        if told.is_empty() || told == ours {
            return Ok(());
        }
        link.leads_to(Far::Tcp(told.trim_start_matches("http://").to_owned()));
        let draft = self.announced.with_extension("link");
        fs::write(&draft, ours)?;
        Ok(fs::rename(&draft, &self.announced)?)
    }

    /// Begins trouble on the last link of a name; false when there is none.
    pub(crate) fn begin(&mut self, name: &str, trouble: Trouble, lasts: Duration) -> bool {
        let mut links = self.links.iter().rev();
        let Some((name, link)) = links.find(|(known, _)| known.starts_with(name)) else {
            return false;
        };
        link.begin(trouble);
        self.ends.push((Instant::now() + lasts, name.clone()));
        true
    }

    /// Ends what is over.
    pub(crate) fn heal(&mut self) {
        let now = Instant::now();
        for (_, name) in self.ends.extract_if(.., |(end, _)| *end <= now) {
            self.links[&name].heal();
        }
    }

    /// Whether nothing is wrong with any.
    pub(crate) fn is_calm(&self) -> bool {
        self.ends.is_empty()
    }

    /// How many acknowledgements were lost.
    pub(crate) fn lost(&self) -> u32 {
        self.links.values().map(Link::lost).sum()
    }
}
