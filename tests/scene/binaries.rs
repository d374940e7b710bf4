//! The programs under test, as Cargo builds them: nobody has to build them first.

use std::env;
use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use testkit::build_programs;

/// Where the program lies, built from what is in the work tree.
pub(crate) fn path_of(program: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(built).join(program)
}

/// The folder of the programs, of the same profile as this test: `target/debug/deps/promises-…`.
fn built() -> PathBuf {
    let test = env::current_exe().unwrap();
    let folder = test.parent().and_then(Path::parent).unwrap().to_owned();
    once_per_run(&folder.join(".promises"), || {
        build_programs(&folder).unwrap()
    });
    folder
}

/// Under nextest each test is a process of its own. The first one of a run builds, and leaves the
/// run's name for the others, who wait for it at the lock.
fn once_per_run(stamp: &Path, build: impl FnOnce()) {
    let run = env::var("NEXTEST_RUN_ID").unwrap_or_default();
    let mut file = File::options();
    let mut file = file
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(stamp)
        .unwrap();
    file.lock().unwrap();
    let mut done = String::new();
    file.read_to_string(&mut done).unwrap();
    if !run.is_empty() && done == run {
        return;
    }
    build();
    file.rewind().unwrap();
    file.set_len(0).unwrap();
    file.write_all(run.as_bytes()).unwrap();
}

/// The folder of the product.
pub(crate) fn workspace() -> PathBuf {
    fs::canonicalize(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).unwrap()
}
