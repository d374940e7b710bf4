//! The programs under test, as Cargo builds them: nobody has to build them first.

use std::env;
use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Where the program lies, built from what is in the work tree.
pub(crate) fn path_of(program: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(built).join(program)
}

/// The folder of the programs, of the same profile as this test: `target/debug/deps/promises-…`.
fn built() -> PathBuf {
    let test = env::current_exe().unwrap();
    let folder = test.parent().and_then(Path::parent).unwrap().to_owned();
    once_per_run(&folder.join(".promises"), || build(&folder));
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

/// With the features of the whole workspace and of its tests, which the example stands for: after a
/// build of all tests only the programs themselves are left to build, not what they depend on.
fn build(folder: &Path) {
    let profile = match folder.file_name().unwrap().to_str().unwrap() {
        "debug" => "dev",
        other => other,
    };
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
        .args([
            "build",
            "--quiet",
            "--workspace",
            "--bin=billing-api",
            "--bin=month-close",
            "--bin=outbox-relay",
        ])
        .args(["--example=orders", "--profile", profile, "--target-dir"])
        .arg(folder.parent().unwrap())
        .current_dir(workspace())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(
        built.status.success(),
        "the programs under test could not be built:\n{said}"
    );
}

/// The folder of the product.
pub(crate) fn workspace() -> PathBuf {
    fs::canonicalize(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).unwrap()
}
