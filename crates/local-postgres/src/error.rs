//! What can go wrong, and what the reader of the message can do about it.

use std::io;
use std::path::{Path, PathBuf};

use crate::find::{InstallCommand, MIN_MAJOR};

/// Why the private cluster could not be started or joined.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No server programs were found.
    #[error(
        "no Postgres server on this machine: run `{install}` (or `just setup`), or set \
         BILLING_DATABASE_URL to a server of yours"
    )]
    NotInstalled {
        /// What installs Postgres on this system.
        install: InstallCommand,
    },
    /// Server programs were found, but only old ones.
    #[error(
        "Postgres {MIN_MAJOR} or newer is needed, but this machine has {found}: run `{install}` \
         (or `just setup`), or set BILLING_DATABASE_URL to a newer server"
    )]
    TooOld {
        /// The versions found and where.
        found: String,
        /// What installs Postgres on this system.
        install: InstallCommand,
    },
    /// The cluster was written by a major version that is no longer installed.
    #[error(
        "the database in {place} was written by Postgres {written}, but this machine has {found}: \
         install Postgres {written} again, or move the database with pg_upgrade"
    )]
    OtherMajor {
        /// The data directory.
        place: PathBuf,
        /// The cluster's major version.
        written: u32,
        /// The versions found and where.
        found: String,
    },
    /// We are root, and there is no account to run the server as.
    #[error(
        "Postgres refuses to run as root and there is no account `postgres` or `nobody` to run it: \
         create one with `useradd --system postgres`, or start this program as an ordinary user"
    )]
    NoAccount,
    /// We are root, and the server's account cannot reach the data directory.
    #[error(
        "the account that runs Postgres (uid {uid}) cannot enter {home}, and `setpriv` could not \
         give it the right to ({reason}): use a data directory that others may pass through, allow \
         them with `chmod o+x` on its parents, or install setpriv (package util-linux; on Alpine \
         `apk add setpriv`)"
    )]
    ClosedParent {
        /// The server account's user id.
        uid: u32,
        /// The folder it must reach.
        home: PathBuf,
        /// What `setpriv` answered.
        reason: String,
    },
    /// The folder for the socket exists and is not ours, or could be changed by others.
    #[error(
        "the folder {path} for the database's socket cannot be trusted: {reason}; find out who \
         made it, remove it, and start again"
    )]
    SocketFolder {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A server runs but does not answer at its socket.
    #[error(
        "Postgres runs but nobody can reach its socket in {folder}: stop every program that uses \
         this data directory and start again"
    )]
    Unreachable {
        /// The socket's folder.
        folder: PathBuf,
        /// The answer to our attempt.
        source: io::Error,
    },
    /// The cluster could not be created.
    #[error("cannot create a Postgres cluster in {place}: {reason}{hint}")]
    Create {
        /// The data directory.
        place: PathBuf,
        /// The last lines of what the programs said.
        reason: String,
        /// What to do, when we recognise the reason.
        hint: &'static str,
    },
    /// The server did not come up.
    #[error("Postgres in {place} does not start{hint}; its log ends with:\n{log}")]
    Server {
        /// The data directory.
        place: PathBuf,
        /// The last lines of the server's log.
        log: String,
        /// What to do, when we recognise the reason.
        hint: &'static str,
    },
    /// The server is up but refused the role `billing`.
    #[error("Postgres in {place} runs but does not let us in: {reason}")]
    Login {
        /// The data directory.
        place: PathBuf,
        /// What `psql` said.
        reason: String,
    },
    /// The server has been starting or stopping for too long.
    #[error(
        "Postgres in {place} (pid {pid}) has been starting or stopping for {seconds} seconds: read \
         the newest file in {place}/postgres/log, then try again"
    )]
    Unsettled {
        /// The data directory.
        place: PathBuf,
        /// The server's process id.
        pid: i32,
        /// How long we waited.
        seconds: u64,
    },
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Why the server could not be stopped.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// The server could not be signalled.
    #[error("cannot tell Postgres (pid {pid}) to stop: {reason}")]
    Signal {
        /// The server's process id.
        pid: i32,
        /// What `kill` said.
        reason: String,
    },
    /// The server was told to stop and still runs.
    #[error(
        "Postgres (pid {pid}) was told to stop {seconds} seconds ago and still runs: it finishes \
         writing in the background; the next start waits for it"
    )]
    StillRunning {
        /// The server's process id.
        pid: i32,
        /// How long we waited.
        seconds: u64,
    },
    /// The account that runs the server could not be determined.
    #[error("cannot act as the account that runs Postgres")]
    Account(#[source] Box<StartError>),
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
}

/// A failed file operation: which, on what, and the system's answer.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}")]
pub struct FileError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl FileError {
    /// For `map_err`: names the operation and the file.
    pub(crate) fn of(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self {
            action,
            path,
            source,
        }
    }
}

/// Causes that we recognise in what Postgres says, and what to do about them.
const HINTS: [(&str, &str); 7] = [
    (
        "No space left on device",
        " because the disk is full: free some space and start again",
    ),
    (
        "Read-only file system",
        " because the disk cannot be written: use another data directory",
    ),
    (
        "Permission denied",
        " because files have another owner: start as the user who created the data directory",
    ),
    (
        "Cannot allocate memory",
        " because memory is short: stop other programs and start again",
    ),
    (
        "could not create shared memory",
        " because shared memory is short: stop other programs and start again",
    ),
    (
        "shared memory block",
        " because children of a killed server still work: wait for them to end and start again",
    ),
    (
        "lock file \"postmaster.pid\" already exists",
        " because another server uses this cluster: stop that server first",
    ),
];

/// The advice for a known cause in `text`, else nothing.
pub(crate) fn hint(text: &str) -> &'static str {
    HINTS
        .iter()
        .find(|(cause, _)| text.contains(cause))
        .map_or("", |(_, advice)| advice)
}
