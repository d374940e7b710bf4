//! Creating the cluster, starting the server and stopping it. The caller stands inside the gate.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tracing::info;

use crate::account::{self, Account};
use crate::error::{FileError, StartError, StopError, hint};
use crate::find::{self, Installation};
use crate::lock::Gate;
use crate::pidfile::{self, POLL, Running, SETTLE_SECONDS_MAX};
use crate::place::Place;
use crate::{BILLING, password, settings};

/// The superuser: for operators, never used by the product.
const ADMIN: &str = "admin";

/// Children of a killed server notice within about two seconds that it is gone, and let go of its
/// shared memory; until then a new server refuses to start. On a busy machine it takes longer.
const ORPHANS_LEAVE_WITHIN: Duration = Duration::from_secs(30);

/// A fast shutdown writes everything that is dirty in the cache.
const STOP_SECONDS_MAX: u64 = 120;

/// Lines of a log that an error shows: enough for a `FATAL` with its detail and hint.
const TAIL_LINES: usize = 8;

/// The cluster at a place, with the programs that can run it.
pub(crate) struct Cluster<'a> {
    place: &'a Place,
    gate: &'a Gate,
    installation: Installation,
    pub(crate) account: Account,
}

impl<'a> Cluster<'a> {
    pub(crate) fn at(place: &'a Place, gate: &'a Gate) -> Result<Self, StartError> {
        let installation = find::find(&find::folders(), place.path(), written_major(place))?;
        Ok(Self {
            place,
            gate,
            installation,
            account: Account::of(place)?,
        })
    }

    /// Creates the cluster under a temporary name and renames it when it is complete, so that one
    /// that was interrupted is never taken for a whole one.
    pub(crate) fn create(&self) -> Result<(), StartError> {
        let (place, unfinished) = (self.place, self.place.unfinished());
        info!(
            "Creating a database with Postgres {} in {place}",
            self.installation.version
        );
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).map_err(FileError::of("remove", &unfinished))?;
        }
        self.initdb()?;
        self.create_roles()?;
        let home = place.home();
        fs::rename(&unfinished, place.cluster()).map_err(FileError::of("rename", &unfinished))?;
        fs::File::open(&home)
            .and_then(|home| home.sync_all())
            .map_err(FileError::of("write", &home))?;
        Ok(())
    }

    /// Starts the server and returns when it accepts connections. It runs in a session of its own
    /// (`pg_ctl` sees to that), out of reach of our terminal's Ctrl-C.
    pub(crate) fn start(&self, socket_folder: &Path) -> Result<(), StartError> {
        info!(
            "Starting Postgres {} in {}",
            self.installation.version, self.place
        );
        self.write("cluster/pg_hba.conf", settings::HBA)?;
        let settings = settings::text(socket_folder, settings::memory());
        self.write("cluster/postgresql.conf", &settings)?;
        if let Some(text) = pidfile::without_stranger(self.place)? {
            self.write("cluster/postmaster.pid", &text)?;
        }
        let started = Instant::now();
        while let Err(log) = self.pg_ctl_start()? {
            let orphans = log.contains("shared memory block");
            if !orphans || started.elapsed() > ORPHANS_LEAVE_WITHIN {
                return Err(StartError::Server {
                    place: self.place.path().to_path_buf(),
                    hint: hint(&log),
                    log,
                });
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// Creates the database `billing` if it is missing. Logs in as its owner, so that a start that
    /// succeeds has shown that the URL works.
    pub(crate) fn ensure_database(&self, socket: &Path, password: &str) -> Result<(), StartError> {
        let sql = format!(
            "select 'create database {BILLING}'
             where not exists (select from pg_database where datname = '{BILLING}') \\gexec"
        );
        let mut psql = account::bare(self.installation.program("psql"));
        psql.args([
            "--no-psqlrc",
            "--quiet",
            "--no-password",
            "--dbname=postgres",
        ])
        .args(["--set=ON_ERROR_STOP=1", "--username", BILLING, "--host"])
        .arg(socket)
        .env("PGPASSWORD", password);
        let said =
            with_input(&mut psql, &sql).map_err(FileError::of("run", &self.installation.folder))?;
        said.map_err(|reason| StartError::Login {
            place: self.place.path().to_path_buf(),
            reason,
        })
    }

    fn initdb(&self) -> Result<(), StartError> {
        let mut initdb = self.account.command(self.installation.program("initdb"));
        initdb
            .args(["-D", "cluster.new", "--username", ADMIN, "--data-checksums"])
            // Sorting by bytes: an update of the system's locales cannot corrupt an index.
            .args(["--encoding=UTF8", "--locale=C", "--no-instructions"])
            // `pg_hba.conf` is replaced before the first start.
            .arg("--auth=trust")
            .stdin(self.gate.as_stdin()?);
        let said = outcome(&mut initdb).map_err(FileError::of("run", &self.installation.folder))?;
        said.map_err(|reason| self.cannot_create(reason))
    }

    /// In single-user mode, so that the roles have their passwords before anyone can connect.
    fn create_roles(&self) -> Result<(), StartError> {
        let admin = password::create(&self.place.admin_password())?;
        let billing = password::create(&self.place.billing_password())?;
        let sql = format!(
            "alter role {ADMIN} password '{admin}'\n\
             create role {BILLING} login createdb password '{billing}'\n"
        );
        let mut single = self.account.command(self.installation.program("postgres"));
        single
            .args(["--single", "-D", "cluster.new", "-c", "exit_on_error=on"])
            .arg("postgres");
        let said = with_input(&mut single, &sql)
            .map_err(FileError::of("run", &self.installation.folder))?;
        said.map_err(|reason| self.cannot_create(reason))
    }

    fn cannot_create(&self, reason: String) -> StartError {
        StartError::Create {
            place: self.place.path().to_path_buf(),
            hint: hint(&reason),
            reason,
        }
    }

    /// One attempt; the inner error is the end of the server's log.
    fn pg_ctl_start(&self) -> Result<Result<(), String>, StartError> {
        let fresh_log = "umask 077 && mkdir -p log && rm -f \"$1\"";
        let mut prepare = self.account.script(fresh_log, "log/startup.log");
        let folder = &self.installation.folder;
        if let Err(reason) = outcome(&mut prepare).map_err(FileError::of("run", Path::new("sh")))? {
            return Ok(Err(reason));
        }
        // Relative paths: `pg_ctl` puts them into a shell command without quoting.
        let mut pg_ctl = self.account.command(self.installation.program("pg_ctl"));
        pg_ctl
            .args([
                "start",
                "--silent",
                "--wait",
                "-D",
                "cluster",
                "-l",
                "log/startup.log",
            ])
            .args(["--timeout", &SETTLE_SECONDS_MAX.to_string()])
            .stdin(self.gate.as_stdin()?);
        let said = outcome(&mut pg_ctl).map_err(FileError::of("run", folder))?;
        Ok(said.map_err(|said| log_tail(&self.place.log()).unwrap_or(said)))
    }

    fn write(&self, path: &str, text: &str) -> Result<(), StartError> {
        let mut cat = self.account.script("umask 077 && cat > \"$1\"", path);
        let said = with_input(&mut cat, text).map_err(FileError::of("write", Path::new(path)))?;
        said.map_err(|reason| self.cannot_create(reason))
    }
}

/// Stops the server and returns when it is gone.
pub(crate) fn shut_down(place: &Place, server: &Running) -> Result<(), StopError> {
    let account = Account::of(place).map_err(|err| StopError::Account(Box::new(err)))?;
    // SIGINT is the fast shutdown. In the account's name: the number comes from a file of its own.
    let mut kill = account.script("kill -INT \"$1\"", server.pid.to_string());
    let said = outcome(&mut kill).map_err(FileError::of("run", Path::new("sh")))?;
    said.map_err(|reason| StopError::Signal {
        pid: server.pid,
        reason,
    })?;
    let told = Instant::now();
    while pidfile::running(place)?.is_some_and(|found| found.pid == server.pid) {
        if told.elapsed().as_secs() >= STOP_SECONDS_MAX {
            return Err(StopError::StillRunning {
                pid: server.pid,
                seconds: STOP_SECONDS_MAX,
            });
        }
        std::thread::sleep(POLL);
    }
    Ok(())
}

fn written_major(place: &Place) -> Option<u32> {
    let text = fs::read_to_string(place.cluster().join("PG_VERSION")).ok()?;
    text.trim().parse().ok()
}

/// Runs a program; the inner error is the end of what it said.
fn outcome(command: &mut Command) -> std::io::Result<Result<(), String>> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(Ok(()));
    }
    let said = [output.stdout, output.stderr].concat();
    Ok(Err(tail(&String::from_utf8_lossy(&said))))
}

fn with_input(command: &mut Command, input: &str) -> std::io::Result<Result<(), String>> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    // A program that ends early does not read everything; its exit status tells why.
    let written = child
        .stdin
        .take()
        .map(|mut stdin| stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output()?;
    if output.status.success() {
        return written.unwrap_or(Ok(())).map(Ok);
    }
    let said = [output.stdout, output.stderr].concat();
    Ok(Err(tail(&String::from_utf8_lossy(&said))))
}

/// The end of what the server wrote since we started it: the start's own log, or the day's log once
/// the server has moved on to it.
fn log_tail(folder: &Path) -> Option<String> {
    let startup = fs::read(folder.join("startup.log")).ok()?;
    let startup = String::from_utf8_lossy(&startup);
    if !startup.contains("redirecting log output") {
        return Some(tail(&startup));
    }
    let newest = fs::read(newest_file(folder)?).ok()?;
    Some(tail(&String::from_utf8_lossy(&newest)))
}

fn newest_file(folder: &Path) -> Option<PathBuf> {
    let days = fs::read_dir(folder).ok()?.flatten();
    days.filter(|day| day.file_name() != "startup.log")
        .max_by_key(|day| day.metadata().and_then(|found| found.modified()).ok())
        .map(|day| day.path())
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}
