//! The work tree: where it is, what is in it, how a program is run in it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::scan::Source;

/// The workspace this program was built from.
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
}

impl Workspace {
    pub(crate) fn here() -> Result<Self> {
        let own = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = own
            .ancestors()
            .nth(2)
            .context("xtask lies two folders below the root")?;
        Ok(Workspace {
            root: root.to_owned(),
        })
    }

    /// Every text file that is tracked, or that would be by the next `git add`.
    ///
    /// The samples are left out: they are other people's words.
    pub(crate) fn sources(&self) -> Result<Vec<Source>> {
        let mut git = Command::new("git");
        git.args([
            "ls-files",
            "--cached",
            "--others",
            "--exclude-standard",
            "--deduplicate",
            "-z",
        ]);
        let listed = output(git.current_dir(&self.root))?;
        let paths = String::from_utf8(listed.stdout).context("a tracked path is not UTF-8")?;

        let mut sources = Vec::new();
        for path in paths
            .split_terminator('\0')
            .filter(|path| !path.starts_with("samples/"))
        {
            // Listed but unreadable: deleted and not yet committed, or no text at all.
            if let Ok(text) = fs::read_to_string(self.root.join(path)) {
                sources.push(Source::new(path, text));
            }
        }
        Ok(sources)
    }

    /// What cargo knows of our own packages.
    pub(crate) fn metadata(&self) -> Result<Value> {
        let found = output(
            self.cargo()
                .args(["metadata", "--no-deps", "--format-version=1"]),
        )?;
        serde_json::from_slice(&found.stdout).context("cargo metadata is not JSON")
    }

    /// The folder for what can be made again.
    pub(crate) fn target(&self) -> Result<PathBuf> {
        let metadata = self.metadata()?;
        let target = metadata["target_directory"].as_str();
        target
            .map(PathBuf::from)
            .context("cargo metadata names no target directory")
    }

    /// Cargo, as if it were called by the user and not from within `cargo run`.
    ///
    /// The build script of `ring` asks to be run again when the variables change that `cargo run`
    /// sets, such as the name of the package: every second build would build half the tree again.
    pub(crate) fn cargo(&self) -> Command {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(&self.root);
        for (name, _) in env::vars_os() {
            if is_of_package(&name.to_string_lossy()) {
                cargo.env_remove(name);
            }
        }
        cargo
    }
}

/// Whether cargo sets this variable to tell a program of which package it is.
fn is_of_package(variable: &str) -> bool {
    ["CARGO_PKG_", "CARGO_MANIFEST_"]
        .iter()
        .any(|start| variable.starts_with(start))
}

/// Runs a program whose output the user sees.
pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("could not start {command:?}"))?;
    if !status.success() {
        bail!("{} failed: {status}", short(command));
    }
    Ok(())
}

/// Runs a program and captures what it prints.
pub(crate) fn output(command: &mut Command) -> Result<Output> {
    let output = command
        .output()
        .with_context(|| format!("could not start {command:?}"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!(
            "{} failed: {}\n{}",
            short(command),
            output.status,
            stderr.trim_end()
        );
    }
    Ok(output)
}

/// The program and its arguments, without the environment, as one would type it.
fn short(command: &Command) -> String {
    let program = Path::new(command.get_program())
        .file_name()
        .unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cargo_run_says_of_a_package_is_not_passed_on() {
        assert!(
            env::var_os("CARGO_PKG_NAME").is_some(),
            "the test itself is run by cargo"
        );

        let here = Workspace::here().unwrap().cargo();
        let removed = here
            .get_envs()
            .any(|(name, value)| name == "CARGO_PKG_NAME" && value.is_none());

        assert!(removed);
        assert!(!is_of_package("CARGO_HOME"));
    }
}
