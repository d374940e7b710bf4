//! The programs under test, as Cargo builds them.

use std::env;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// Builds the product's programs into a folder of a target directory, such as `target/debug`.
///
/// With the features of the whole workspace and of its tests, which the example stands for: after a
/// build of all tests only the programs themselves are left to build, not what they depend on.
///
/// # Errors
/// When they cannot be built; what the compiler said.
pub fn build_programs(folder: &Path) -> Result<()> {
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(other) => other,
    };
    let target = folder
        .parent()
        .context("the folder is in no target directory")?;
    let cargo = env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
    let mut build = Command::new(cargo);
    // What Cargo tells a test about its package, build scripts take for news: the cryptography, and
    // all that stands on it, would be compiled again in each run, and once more after it.
    for (name, _) in env::vars_os() {
        let is_of_package = name.to_str().is_some_and(|name| {
            name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
        });
        if is_of_package {
            build.env_remove(name);
        }
    }
    let built = build
        .args(["build", "--quiet", "--workspace", "--example=orders"])
        .args([
            "--bin=billing-api",
            "--bin=month-close",
            "--bin=outbox-relay",
        ])
        .args(["--bin=gateway-sim", "--profile", profile, "--target-dir"])
        .arg(target)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .output()
        .context("could not start cargo")?;
    let said = String::from_utf8_lossy(&built.stderr);
    ensure!(
        built.status.success(),
        "the programs under test could not be built:\n{said}"
    );
    Ok(())
}
