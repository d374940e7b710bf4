//! A program under test: how it is started, what it says, how it ends.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::PipeWriter;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use testkit::until;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::{PATIENCE, binaries};

/// A program that is not started yet.
pub(crate) struct Program {
    command: Command,
    log: PathBuf,
    /// Where what it prints goes, if not into a file.
    pipe: Option<PipeWriter>,
}

impl Program {
    /// What the program says goes to files: one that is killed has said it nevertheless, and a
    /// server that outlives it holds no pipe of the test.
    pub(super) fn new(name: &str, log: &Path) -> Self {
        let mut command = Command::new(binaries::path_of(name));
        let settings = [
            "BILLING_DATABASE_URL",
            "BILLING_DATA_DIR",
            "BILLING_DOCUMENTS_DIR",
            "BILLING_GATEWAY_URL",
            "BILLING_SMTP_URL",
            "BILLING_TRANSPORT",
            "BILLING_NATS_URL",
            "BILLING_WAKE_HOST",
            "BILLING_METRICS",
        ];
        for setting in settings.into_iter().chain(["RUST_LOG"]) {
            command.env_remove(setting);
        }
        // A run at a quarter past would be one event more than a test counts.
        command
            .env("BILLING_CHECKS", "off")
            .current_dir(binaries::workspace())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        Self {
            command,
            log: log.to_owned(),
            pipe: None,
        }
    }

    pub(crate) fn with(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(arguments);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// What it prints goes into a pipe that nobody reads.
    pub(crate) fn unread(mut self) -> Self {
        let (unread, pipe) = std::io::pipe().unwrap();
        drop(unread);
        self.pipe = Some(pipe);
        self
    }

    pub(crate) fn start(mut self) -> Running {
        let file = |kind| File::create(self.log.with_extension(kind)).unwrap();
        let out = file("out");
        let child = self
            .command
            .stdout(self.pipe.map_or_else(|| out.into(), Stdio::from))
            .stderr(file("err"))
            .spawn()
            .unwrap();
        Running {
            child,
            log: self.log,
        }
    }

    /// Starts it and waits for its end.
    pub(crate) async fn run(self) -> Ended {
        self.start().ended().await
    }
}

/// A program at work; killed when the test forgets it.
pub(crate) struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    /// `kill -9`. False when it had ended before.
    pub(crate) async fn kill(mut self) -> bool {
        let was_running = self.child.try_wait().unwrap().is_none();
        self.child.kill().await.unwrap();
        was_running
    }

    /// Asks it to stop, as an operating system does.
    pub(crate) fn ask_to_stop(&self) {
        self.signal(Signal::TERM);
    }

    /// Stops it in the middle of whatever it does, until it is thawed.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on, as if no time had passed.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let id = self.child.id().expect("it runs").cast_signed();
        kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
    }

    /// Asks it to stop and waits for its end.
    pub(crate) async fn stop(self) -> Ended {
        self.ask_to_stop();
        self.ended().await
    }

    /// Lets it work for some time, or until it ends.
    pub(crate) async fn works_for(&mut self, time: Duration) {
        drop(timeout(time, self.child.wait()).await);
    }

    /// Waits for its end.
    pub(crate) async fn ended(mut self) -> Ended {
        let Ok(status) = timeout(PATIENCE, self.child.wait()).await else {
            panic!(
                "it does not end; so far it said:\n{}",
                read(&self.log, "err")
            );
        };
        Ended::new(status.unwrap(), &self.log)
    }

    /// Whether it is still at work.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// What it has said so far on stderr.
    pub(crate) fn said(&self) -> String {
        read(&self.log, "err")
    }

    /// Waits until it has printed so many lines on stdout.
    pub(crate) async fn has_printed(&self, lines: usize) {
        let printed = async || (read(&self.log, "out").lines().count() >= lines).then_some(());
        let printed = until("lines are printed", PATIENCE, printed).await;
        printed.unwrap_or_else(|error| panic!("{error}; it said:\n{}", read(&self.log, "err")));
    }

    /// Waits until it has said a text on stderr.
    pub(crate) async fn has_said(&self, text: &str) {
        let told = async || read(&self.log, "err").contains(text).then_some(());
        let said = until(text, PATIENCE, told).await;
        said.unwrap_or_else(|error| panic!("{error}; it said:\n{}", read(&self.log, "err")));
    }
}

/// A program that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Absent when a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    fn new(status: ExitStatus, log: &Path) -> Self {
        Self {
            code: status.code(),
            out: read(log, "out"),
            err: read(log, "err"),
        }
    }

    /// Expects an exit code.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        let Self { code: is, out, err } = &self;
        assert_eq!(*is, Some(code), "it said:\n{err}\n{out}");
        self
    }

    /// Expects to have been told each of the texts on stderr.
    #[track_caller]
    pub(crate) fn says(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(
                self.err.contains(text),
                "not a word of {text:?} in:\n{}",
                self.err
            );
        }
        self
    }

    /// What stdout holds: one line of JSON and nothing else.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.out.lines().count(), 1, "stdout:\n{}", self.out);
        serde_json::from_str(&self.out).unwrap()
    }
}

fn read(log: &Path, kind: &str) -> String {
    let bytes = fs::read(log.with_extension(kind)).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}
