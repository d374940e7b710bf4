//! The programs that are broken: the product's own, built with failpoints.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Builds them, and says in which folder they lie: beside this program, unless they were built
/// before and laid in `folder`.
pub(crate) fn build(folder: Option<&Path>) -> Result<PathBuf> {
    if let Some(folder) = folder {
        let found = folder.canonicalize();
        return found.with_context(|| format!("no folder of programs {}", folder.display()));
    }
    let me = env::current_exe().context("where is this program?")?;
    let folder = me.parent().context("this program lies in no folder")?;
    eprintln!("building the programs");
    testkit::build_programs(folder)?;
    Ok(folder.to_owned())
}
