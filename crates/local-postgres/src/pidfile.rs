//! What Postgres says about itself in `postmaster.pid`, and whether to believe it.
//!
//! The file outlives a server that was killed. Its process id may then belong to nobody or, after a
//! reboot, to some other program.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::Pid;
use tracing::info;

use crate::error::{FileError, StartError};
use crate::place::Place;

/// Recovery after a crash replays at most `max_wal_size`, which takes minutes on a slow disk.
pub(crate) const SETTLE_SECONDS_MAX: u64 = 600;

/// A wait for the server looks again this often.
pub(crate) const POLL: Duration = Duration::from_millis(20);

/// No system hands out a process id as large as this one.
const NOBODY: &str = "999999999";

/// A server that runs, if only to start or to stop.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Running {
    pub(crate) pid: i32,
    pub(crate) socket_folder: PathBuf,
    ready: bool,
}

/// The server, once it has finished starting or stopping: ready for connections, or gone.
pub(crate) fn settled(place: &Place) -> Result<Option<Running>, StartError> {
    let started = Instant::now();
    let mut told = false;
    loop {
        let pid = match running(place)? {
            None => return Ok(None),
            Some(server) if server.ready => return Ok(Some(server)),
            Some(server) => server.pid,
        };
        if !told {
            info!("Waiting for Postgres in {place} (pid {pid}), which starts or stops");
            told = true;
        }
        if started.elapsed().as_secs() >= SETTLE_SECONDS_MAX {
            return Err(StartError::Unsettled {
                place: place.path().to_path_buf(),
                pid,
                seconds: SETTLE_SECONDS_MAX,
            });
        }
        std::thread::sleep(POLL);
    }
}

/// The server, if one runs.
pub(crate) fn running(place: &Place) -> Result<Option<Running>, FileError> {
    let server = text(place)?.as_deref().and_then(parse);
    Ok(server.filter(|server| is_alive(server.pid) && is_postgres(server.pid)))
}

/// What `postmaster.pid` must say instead when its process id now belongs to another program:
/// Postgres would take that program for a rival and refuse to start.
///
/// The rest is kept: it names the shared memory by which Postgres finds out whether children of the
/// killed server still write to the cluster.
pub(crate) fn without_stranger(place: &Place) -> Result<Option<String>, FileError> {
    let Some(text) = text(place)? else {
        return Ok(None);
    };
    let stranger = parse(&text).filter(|named| is_alive(named.pid) && !is_postgres(named.pid));
    Ok(stranger.map(|named| text.replacen(&named.pid.to_string(), NOBODY, 1)))
}

fn text(place: &Place) -> Result<Option<String>, FileError> {
    let path = place.pidfile();
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text)),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(err) => Err(FileError::of("read", &path)(err)),
    }
}

/// Lines: pid, data directory, start time, port, socket folder, address, shared memory, status.
fn parse(text: &str) -> Option<Running> {
    let mut lines = text.lines();
    let pid = lines.next()?.trim().parse().ok()?;
    let socket_folder = lines.nth(3).unwrap_or_default().into();
    let status = lines.nth(2).unwrap_or_default().trim();
    Some(Running {
        pid,
        socket_folder,
        ready: status == "ready",
    })
}

/// Another account's program may not be signalled by us, but it lives.
fn is_alive(pid: i32) -> bool {
    Pid::from_raw(pid).is_some_and(|pid| {
        let answer = rustix::process::test_kill_process(pid);
        matches!(answer, Ok(()) | Err(Errno::PERM))
    })
}

/// Whether the program is a server and not a stranger or a zombie. Systems that do not tell are
/// trusted.
fn is_postgres(pid: i32) -> bool {
    let Ok(command_line) = fs::read(format!("/proc/{pid}/cmdline")) else {
        return true;
    };
    let program = command_line.split(|byte| *byte == 0).next();
    let program = String::from_utf8_lossy(program.unwrap_or_default());
    Path::new(&*program).file_name() == Some("postgres".as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    const READY: &str = "4711\n/d/cluster\n1795362056\n5432\n/tmp/x\n\n 10018950 9\nready   \n";

    #[test]
    fn a_server_is_ready_only_when_it_says_so() {
        let ready = parse(READY).unwrap();
        let starting = parse(&READY.replace("ready   ", "starting")).unwrap();
        let half_written = parse("4711\n/d/cluster\n").unwrap();

        assert_eq!((ready.pid, ready.ready), (4711, true));
        assert_eq!(ready.socket_folder, Path::new("/tmp/x"));
        assert!(!starting.ready);
        assert!(!half_written.ready);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn a_stranger_that_got_the_servers_number_is_not_taken_for_it() {
        let us = std::process::id().cast_signed();

        assert!(is_alive(us));
        assert!(!is_postgres(us));
    }
}
