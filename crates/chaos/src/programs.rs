//! The programs that are broken: the product's own, built with failpoints.

use std::env;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

/// Builds them, and says in which folder they lie: beside this program.
pub(crate) fn build() -> Result<PathBuf> {
    let me = env::current_exe().context("where is this program?")?;
    let folder = me.parent().context("this program lies in no folder")?;
    eprintln!("building the programs");
    testkit::build_programs(folder)?;
    Ok(folder.to_owned())
}
