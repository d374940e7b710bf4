//! The NATS server that tests start.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// The program: on the path, or where `just setup` laid it.
///
/// # Errors
/// When there is none.
pub fn nats_server() -> Result<PathBuf> {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/nats-server");
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join("nats-server"))
        .chain([ours])
        .find(|program| program.exists())
        .context("no nats-server on PATH or in target/tools: run `just setup`")
}
