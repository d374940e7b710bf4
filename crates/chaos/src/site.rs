//! A site at work: every program of the product, a server and a gateway, all of its own.

use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tempfile::TempDir;
use testkit::until;

use crate::args::Args;
use crate::house::House;
use crate::links::{Links, NATS, WEBHOOKS};
use crate::plan::{Plan, Transport};
use crate::running::{Recipe, Running};

/// Faults end before this; then everything is handled, or never. A worker whose connections were
/// swallowed in the middle of calls takes the most of it (decision 0025).
const QUIET_WITHIN: Duration = Duration::from_secs(180);
/// How often what ended is started again.
const LOOK: Duration = Duration::from_millis(40);
const STARTS_WITHIN: Duration = Duration::from_secs(30);
/// What the names of orders begin with.
const ORDER: &str = "order ";
const SECRET: &str = "a secret of this run";

/// What the site works for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) accounts: u32,
    pub(crate) seed: u64,
    /// The bug that its programs have.
    pub(crate) planted: Option<&'static str>,
    /// Of which kind the gateway is.
    pub(crate) profile: &'static str,
    /// Whether a NATS server carries the log.
    pub(crate) nats: bool,
    /// Whether there is one relay and one worker, instead of two.
    pub(crate) is_lean: bool,
}

impl Load {
    /// That of a plan.
    pub(crate) fn of(plan: &Plan, args: &Args, planted: Option<&'static str>) -> Self {
        Self {
            accounts: args.accounts,
            seed: plan.seed,
            planted,
            profile: plan.profile,
            nats: plan.transport == Transport::Nats,
            is_lean: false,
        }
    }
}

pub(crate) struct Site {
    pub(crate) folder: TempDir,
    pub(crate) pool: PgPool,
    pub(crate) links: Links,
    /// Where the interface listens.
    pub(crate) api: String,
    programs: PathBuf,
    variables: Vec<(&'static str, OsString)>,
    load: Load,
    /// The gateway, the interface, relays, workers, and closes that are under way.
    pub(crate) processes: Vec<Running>,
    /// Whether a close came to its end.
    pub(crate) is_closed: bool,
    /// What ended, and how, and was started again.
    pub(crate) ends: Vec<String>,
    /// How many of these by a signal.
    pub(crate) kills: u32,
}

impl Site {
    pub(crate) async fn open(house: &House, programs: &Path, load: Load) -> Result<Self> {
        let folder = TempDir::with_prefix("chaos")?;
        let name = folder.path().file_name().unwrap_or_default();
        let url = house.database(&name.to_string_lossy()).await?;
        let pool = PgPoolOptions::new()
            .max_connections(4)
            .connect(&url)
            .await?;
        fs::create_dir(folder.path().join("failpoints"))?;
        let api = free_address()?;
        let links = Links::between(url, &api, &folder.path().join("data/gateway"))?;
        let webhooks = links.address(WEBHOOKS);
        let webhooks = format!("http://{webhooks}/v1/gateways/sim/webhooks");
        let mut variables = vec![
            ("BILLING_DATA_DIR", folder.path().join("data").into()),
            ("BILLING_GATEWAY_SECRET", SECRET.into()),
            ("BILLING_LISTEN", api.clone().into()),
            ("BILLING_WEBHOOK_URL", webhooks.clone().into()),
            ("BILLING_GATEWAY_PROFILE", load.profile.into()),
            ("FAILPOINTS", folder.path().join("failpoints").into()),
            ("RUST_LOG", "info,sqlx=warn".into()),
        ];
        variables.extend(load.planted.map(|bug| ("PLANTED", bug.into())));
        let mut site = Self {
            folder,
            pool,
            links,
            api,
            programs: programs.to_owned(),
            variables,
            load,
            processes: Vec::new(),
            is_closed: false,
            ends: Vec::new(),
            kills: 0,
        };
        site.start_gateway(&webhooks).await?;
        if load.nats {
            site.start_nats()?;
        }
        site.start_programs()?;
        Ok(site)
    }

    pub(crate) fn start_programs(&mut self) -> Result<()> {
        self.start("api", "billing-api", &[])?;
        for (name, role) in [
            ("relay 1", "relay"),
            ("worker 1", "worker"),
            ("relay 2", "relay"),
            ("worker 2", "worker"),
        ] {
            if !self.load.is_lean || name.ends_with('1') {
                self.start(name, "outbox-relay", &["--role", role])?;
            }
        }
        Ok(())
    }

    /// Each message is on its disk before it is acknowledged, as the manual recommends.
    fn start_nats(&mut self) -> Result<()> {
        let address = free_address()?;
        let config = self.folder.path().join("nats.conf");
        let store = self.folder.path().join("nats");
        let text = format!(
            "listen: \"{address}\"\njetstream {{ store_dir: {store:?}, sync_interval: always }}\n"
        );
        fs::write(&config, text)?;
        let program = testkit::nats_server()?.to_string_lossy().into_owned();
        self.start(NATS, &program, &["-c", &config.to_string_lossy()])?;
        let link = self.links.nats(address)?;
        self.variables.extend([
            ("BILLING_TRANSPORT", "nats".into()),
            ("BILLING_NATS_URL", format!("nats://{link}").into()),
        ]);
        Ok(())
    }

    /// The programs would start one of their own; this one keeps the books of their folder, and
    /// when it is killed they stand in line for them.
    async fn start_gateway(&mut self, webhooks: &str) -> Result<()> {
        let books = self.folder.path().join("data/gateway");
        let books = books.to_string_lossy().into_owned();
        let arguments = [
            ["--data-dir", &books],
            ["--webhook-url", webhooks],
            ["--webhook-secret", SECRET],
            ["--webhook-pause-ms", "100"],
            ["--profile", self.load.profile],
        ];
        let arguments = [arguments.as_flattened(), &["--join"]].concat();
        self.start("gateway", "gateway-sim", &arguments)?;
        let log = self.log_of("gateway");
        let is_told = || fs::read_to_string(&log).is_ok_and(|text| text.contains("http://"));
        until("the gateway to start", STARTS_WITHIN, async || {
            is_told().then_some(())
        })
        .await?;
        self.links.follow_gateway()
    }

    pub(crate) fn load(&self) -> Load {
        self.load
    }

    /// Closes the month: beside another close, if one is under way.
    pub(crate) fn close(&mut self) -> Result<()> {
        let name = format!("close {}", self.processes.len());
        let arguments = self.sample();
        let arguments: Vec<&str> = arguments.split(' ').collect();
        self.start(&name, "month-close", &arguments)
    }

    fn sample(&self) -> String {
        let Load { accounts, seed, .. } = self.load;
        format!("--sample cloud --accounts {accounts} --seed {seed} --chunk 20")
    }

    /// Gives an order, again and again until it is carried out.
    pub(crate) async fn order(
        &mut self,
        name: &str,
        program: &str,
        arguments: &[&str],
    ) -> Result<()> {
        let name = format!("{ORDER}{name}");
        self.start(&name, program, arguments)?;
        let began = Instant::now();
        while self.processes.iter().any(|process| process.name() == name) {
            ensure!(began.elapsed() < QUIET_WITHIN, "{name} is not carried out");
            self.look_after()?;
            outbox::clock::pause(LOOK).await;
        }
        Ok(())
    }

    fn start(&mut self, name: &str, program: &str, arguments: &[&str]) -> Result<()> {
        let recipe = Recipe {
            name: name.to_owned(),
            program: self.programs.join(program),
            arguments: arguments.iter().map(Into::into).collect(),
            variables: self.variables_of(name)?,
            log: self.log_of(name),
        };
        self.processes.push(Running::start(recipe)?);
        Ok(())
    }

    fn variables_of(&mut self, name: &str) -> Result<Vec<(&'static str, OsString)>> {
        let database = ("BILLING_DATABASE_URL", self.links.database(name)?.into());
        Ok(self.variables.iter().cloned().chain([database]).collect())
    }

    pub(crate) fn log_of(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.log"))
    }

    pub(crate) fn failpoints(&self) -> PathBuf {
        self.folder.path().join("failpoints")
    }

    /// Starts what has ended: a close and an order until they came to their end, everything else
    /// for ever. Ends trouble that is over.
    pub(crate) fn look_after(&mut self) -> Result<()> {
        self.links.heal();
        self.links.follow_gateway()?;
        let mut at = 0;
        while at < self.processes.len() {
            let process = &mut self.processes[at];
            let Some(status) = process.ended()? else {
                at += 1;
                continue;
            };
            let is_close = process.name().starts_with("close");
            if is_close && matches!(status.code(), Some(0 | 3)) {
                self.is_closed = true;
                self.processes.remove(at);
                continue;
            }
            if process.name().starts_with(ORDER) {
                ensure!(status.code() != Some(2), "{} was refused", process.name());
                // A close that lists exceptions has come to its end.
                if matches!(status.code(), Some(0 | 3)) {
                    self.processes.remove(at);
                    continue;
                }
            }
            self.kills += u32::from(status.signal().is_some());
            self.ends.push(format!("{}: {status}", process.name()));
            process.again()?;
            at += 1;
        }
        Ok(())
    }

    fn is_closing(&self) -> bool {
        let mut processes = self.processes.iter();
        processes.any(|process| process.name().starts_with("close"))
    }

    /// How many events the log has by now; nothing while the server is away.
    pub(crate) async fn events(&self) -> Option<i64> {
        let count = "select coalesce(max(id), 0) from outbox.event";
        sqlx::query_scalar(count).fetch_one(&self.pool).await.ok()
    }

    /// Nothing fails any more: waits until the month is closed and everything is handled.
    pub(crate) async fn until_quiet(&mut self) -> Result<()> {
        let began = Instant::now();
        for process in &mut self.processes {
            process.thaw();
        }
        while !self.links.is_calm() || !self.is_closed || self.is_closing() {
            ensure!(began.elapsed() < QUIET_WITHIN, "the close does not end");
            self.look_after()?;
            outbox::clock::pause(LOOK).await;
        }
        let mut backlogs = outbox::BacklogWatch::new(self.pool.clone());
        let names = billing_names(&self.pool).await?;
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        loop {
            self.look_after()?;
            match backlogs.rest(&names).await {
                Ok(Some(rest)) if rest.dead > 0 => bail!("{} dead letters", rest.dead),
                // What waits for a while is due within it: nothing here takes longer.
                Ok(Some(rest)) if rest.waiting == 0 => return Ok(()),
                Ok(_) | Err(_) => {}
            }
            if began.elapsed() > QUIET_WITHIN {
                bail!("not everything is handled after {QUIET_WITHIN:?}");
            }
            outbox::clock::pause(LOOK).await;
        }
    }

    /// Ends all programs as an operating system does; one that cannot says so. The gateway and the
    /// NATS server stay. A close that is under way yet has been told off before.
    pub(crate) async fn stop(&mut self) -> Result<()> {
        let is_ours = |process: &mut Running| !["gateway", NATS].contains(&process.name());
        let mut stopping: Vec<Running> = self.processes.extract_if(.., is_ours).collect();
        for process in &mut stopping {
            process.thaw();
            process.is_up().await;
            process.ask_to_stop();
        }
        for process in &mut stopping {
            let status = process.stopped().await?;
            let is_close = process.name().starts_with("close");
            ensure!(
                is_close || status.success(),
                "{} stopped with {status}",
                process.name()
            );
        }
        Ok(())
    }

    /// Runs a program to its end, and answers how it ended, the last line that it printed, and what
    /// it told people.
    pub(crate) async fn run(
        &mut self,
        program: &str,
        arguments: &[&str],
    ) -> Result<(bool, String, String)> {
        let variables = self.variables_of(program)?;
        let output = tokio::process::Command::new(self.programs.join(program))
            .args(arguments)
            .envs(variables)
            .kill_on_drop(true)
            .output()
            .await?;
        fs::write(self.log_of(program), &output.stderr)?;
        let text = String::from_utf8_lossy(&output.stdout);
        let last = text.lines().next_back().unwrap_or_default();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        Ok((output.status.success(), last.to_owned(), told))
    }
}

async fn billing_names(pool: &PgPool) -> Result<Vec<String>> {
    let names = sqlx::query_scalar("select name from outbox.consumer order by name");
    Ok(names.fetch_all(pool).await?)
}

fn free_address() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    Ok(listener.local_addr()?.to_string())
}
