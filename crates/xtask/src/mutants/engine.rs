//! The program of the engine's tests, built with its mutants.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::workspace::{Workspace, output};

/// The exit code of a program of tests of which some failed.
const FAILED: i32 = 101;

/// The tests of the engine.
pub(super) struct Engine {
    program: PathBuf,
    /// Where cargo would run it.
    folder: PathBuf,
}

/// What a run came to.
pub(super) enum Ran {
    Passed,
    /// With all that was said.
    Failed(String),
}

impl Engine {
    /// With the features of the whole workspace: those of its dependencies are then the same as for
    /// the other tests, and nothing but the engine is built again.
    pub(super) fn build(workspace: &Workspace) -> Result<Self> {
        let mut build = workspace.cargo();
        build
            .args(["test", "--workspace", "--test", "engine", "--no-run"])
            .args(["--features", "outbox/mutants"])
            .args(["--message-format", "json-render-diagnostics"])
            .stderr(Stdio::inherit());
        let messages = output(&mut build).context("the engine with its mutants does not build")?;
        let messages = String::from_utf8(messages.stdout).context("cargo's answer is not UTF-8")?;
        Ok(Self {
            program: program(&messages).context("cargo names no program of the engine's tests")?,
            folder: workspace.root.join("crates/outbox"),
        })
    }

    /// Runs tests, named in full. That there is no such test is an error.
    pub(super) fn run(&self, tests: &[&str], environment: &[(&str, &str)]) -> Result<Ran> {
        let mut run = Command::new(&self.program);
        run.current_dir(&self.folder)
            .arg("--exact")
            .args(tests)
            .envs(environment.iter().copied());
        let ran = run.output().context("the engine's tests do not start")?;
        let said = [ran.stdout, ran.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
        let said = said.concat();
        if !said.contains(&format!("running {} test", tests.len())) {
            bail!("not all of these are tests: {}\n{said}", tests.join(", "));
        }
        match ran.status.code() {
            Some(0) => Ok(Ran::Passed),
            Some(FAILED) => Ok(Ran::Failed(said)),
            _ => bail!("the tests broke off: {}\n{said}", ran.status),
        }
    }
}

/// The program of the test target `engine` among cargo's messages.
fn program(messages: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == "engine")
        .filter_map(|message| Some(Path::new(message["executable"].as_str()?).to_owned()))
        .next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_that_of_the_target() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"outbox"}}
            {"reason":"compiler-artifact","target":{"name":"engine"},"executable":"/t/engine-1"}
            {"reason":"build-finished","success":true}"#;

        assert_eq!(program(messages), Some(PathBuf::from("/t/engine-1")));
        assert_eq!(program("{}"), None);
    }
}
