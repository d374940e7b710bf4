//! Bugs put in on purpose: a test is run again, in a process that has one, and must fail.

use std::process::Command;

/// What the test prints in a program with the bug; nothing when it does not notice it.
pub(crate) fn noticed(bug: &str, test: &str) -> Option<String> {
    let program = std::env::current_exe().unwrap();
    let ran = Command::new(program)
        .args([test, "--exact"])
        .env("PLANTED", bug)
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(printed.contains("running 1 test"), "{printed}");
    (!ran.status.success()).then_some(printed)
}
