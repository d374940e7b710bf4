//! A process that is started, hurt, and started again.

use std::ffi::OsString;
use std::fs::File;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Longer than any program takes to end what it has in hand.
const STOPS_WITHIN: Duration = Duration::from_secs(40);
const IS_UP_AFTER: Duration = Duration::from_secs(3);

/// How a process is started: again and again.
#[derive(Debug, Clone)]
pub(crate) struct Recipe {
    pub(crate) name: String,
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) variables: Vec<(&'static str, OsString)>,
    /// Where its log goes: all that it says, of all its lives.
    pub(crate) log: PathBuf,
}

#[derive(Debug)]
pub(crate) struct Running {
    recipe: Recipe,
    child: Child,
    is_frozen: bool,
    began: Instant,
}

impl Running {
    pub(crate) fn start(recipe: Recipe) -> Result<Self> {
        let child = spawn(&recipe)?;
        Ok(Self {
            recipe,
            child,
            is_frozen: false,
            began: Instant::now(),
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.recipe.name
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    pub(crate) fn again(&mut self) -> Result<()> {
        self.child = spawn(&self.recipe)?;
        self.is_frozen = false;
        self.began = Instant::now();
        Ok(())
    }

    /// `kill -9`.
    pub(crate) async fn kill(&mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Stops it in the middle of whatever it does.
    pub(crate) fn freeze(&mut self) {
        self.is_frozen = self.signal(Signal::STOP);
    }

    pub(crate) fn thaw(&mut self) {
        if std::mem::take(&mut self.is_frozen) {
            self.signal(Signal::CONT);
        }
    }

    /// Waits until it has had the time to listen for signals: before, one would just kill it.
    pub(crate) async fn is_up(&self) {
        outbox::clock::pause(IS_UP_AFTER.saturating_sub(self.began.elapsed())).await;
    }

    pub(crate) fn ask_to_stop(&self) {
        self.signal(Signal::TERM);
    }

    /// Waits for the end of one that was asked to stop.
    pub(crate) async fn stopped(&mut self) -> Result<ExitStatus> {
        let ended = timeout(STOPS_WITHIN, self.child.wait()).await;
        let status = ended.with_context(|| format!("{} does not stop", self.recipe.name))?;
        Ok(status?)
    }

    /// False when it has ended.
    fn signal(&self, signal: Signal) -> bool {
        let pid = self
            .child
            .id()
            .and_then(|id| Pid::from_raw(id.cast_signed()));
        pid.is_some_and(|pid| kill_process(pid, signal).is_ok())
    }
}

fn spawn(recipe: &Recipe) -> Result<Child> {
    let log = File::options().create(true).append(true).open(&recipe.log);
    let log = log.with_context(|| format!("cannot write {}", recipe.log.display()))?;
    let mut command = Command::new(&recipe.program);
    for (name, _) in std::env::vars_os() {
        // What the caller's own site is must not be broken.
        if name.to_string_lossy().starts_with("BILLING_") {
            command.env_remove(name);
        }
    }
    command
        .args(&recipe.arguments)
        .envs(recipe.variables.iter().map(|(name, value)| (*name, value)))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true);
    let started = command.spawn();
    started.with_context(|| format!("cannot start {}", recipe.program.display()))
}
