//! The programs that are broken: the product's own, built with failpoints.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// Builds them, and says in which folder they lie.
pub(crate) fn build() -> Result<PathBuf> {
    let me = env::current_exe().context("where is this program?")?;
    let folder = me.parent().context("this program lies in no folder")?;
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(other) => other,
    };
    let target = folder.parent().context("this program lies in no target")?;
    eprintln!("building the programs (profile {profile})");
    // With the features of the whole workspace and of its tests, which the example stands for: what
    // the tests have built is built.
    let built = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--workspace", "--example=orders"])
        .args([
            "--bin=billing-api",
            "--bin=month-close",
            "--bin=outbox-relay",
        ])
        .args(["--bin=gateway-sim", "--profile", profile, "--target-dir"])
        .arg(target)
        .current_dir(workspace())
        .status()
        .context("could not start cargo")?;
    ensure!(built.success(), "the programs could not be built");
    Ok(folder.to_owned())
}

fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}
