//! A gateway in a folder of its own, and the program that runs one.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use gateway_sim::{GatewaySim, Running};
use tempfile::TempDir;

use crate::caller::{Caller, PATIENCE};

pub(crate) struct Scene {
    pub(crate) caller: Caller,
    pub(crate) gateway: Running,
    pub(crate) dir: TempDir,
}

pub(crate) async fn gateway() -> Scene {
    gateway_with(|sim| sim).await
}

pub(crate) async fn gateway_with(set: impl FnOnce(GatewaySim) -> GatewaySim) -> Scene {
    let dir = tempfile::tempdir().unwrap();
    let gateway = set(GatewaySim::at(dir.path())).start().await.unwrap();
    Scene {
        caller: Caller::of(gateway.url()),
        gateway,
        dir,
    }
}

/// The program, killed when the test is over.
pub(crate) struct Program {
    pub(crate) child: Child,
    pub(crate) url: String,
}

impl Program {
    pub(crate) fn spawn(dir: &Path, arguments: &[&str]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_gateway-sim"))
            .arg("--data-dir")
            .arg(dir)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Waits for the address that the program prints first.
    pub(crate) fn of(mut child: Child) -> Self {
        let mut line = String::new();
        let mut printed = BufReader::new(child.stdout.take().unwrap());
        printed.read_line(&mut line).unwrap();
        let url = line.trim().to_owned();
        Self { child, url }
    }

    pub(crate) fn start(dir: &Path) -> Self {
        Self::of(Self::spawn(dir, &[]))
    }

    pub(crate) fn caller(&self) -> Caller {
        Caller::of(&self.url)
    }

    /// SIGKILL: nothing is said good-bye to.
    pub(crate) fn kill_9(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill_9();
    }
}

/// Looks again and again until `look` finds something.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let search = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(5));
        loop {
            ticks.tick().await;
            if let Some(found) = look().await {
                return found;
            }
        }
    };
    let found = tokio::time::timeout(PATIENCE, search).await;
    found.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}
