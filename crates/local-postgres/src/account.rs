//! The operating-system account that runs the server's programs.
//!
//! Ordinary users run the server themselves. Postgres refuses to run as root, so root runs it as an
//! unprivileged account, and everything that lies in the server's folder is written by that account
//! too: root writing there could be led astray by a symbolic link.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, lchown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::error::{FileError, StartError};
use crate::place::Place;

/// Accounts that root may run the server as, best first.
const CANDIDATES: [&str; 2] = ["postgres", "nobody"];

/// Capabilities that open a closed parent (such as `/root`), least first. Containers often withhold
/// the first, which grants reading alone, and grant the second.
const KEYS: [&str; 2] = ["dac_read_search", "dac_override"];

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Who runs the server, and how we start programs in that name.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) uid: u32,
    gid: u32,
    home: PathBuf,
    rights: Rights,
}

#[derive(Debug, Clone, Copy)]
enum Rights {
    /// We are that account.
    Ours,
    /// We are root and step down.
    SteppedDown,
    /// We are root and step down, but keep one capability.
    WithKey(&'static str),
}

impl Account {
    /// The account that owns the server's folder; creates the folder when there is none.
    pub(crate) fn of(place: &Place) -> Result<Self, StartError> {
        let home = place.home();
        let (uid, gid) = settle_home(&home)?;
        let mut account = Self {
            uid,
            gid,
            home,
            rights: Rights::Ours,
        };
        if rustix::process::geteuid().is_root() {
            account.rights = account.enough_rights()?;
        }
        Ok(account)
    }

    /// A program of the server: in its folder, as its account, with a clean environment.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = match self.rights {
            Rights::Ours => bare(program),
            Rights::SteppedDown => {
                let mut command = bare(program);
                command.uid(self.uid).gid(self.gid);
                command
            }
            Rights::WithKey(capability) => self.through_setpriv(capability, program),
        };
        command.current_dir(&self.home);
        command
    }

    /// A shell script of the server; `argument` is its `$1`.
    pub(crate) fn script(&self, script: &str, argument: impl AsRef<OsStr>) -> Command {
        let mut command = self.command("/bin/sh");
        command.args(["-c", script, "sh"]).arg(argument);
        command
    }

    fn through_setpriv(&self, capability: &str, program: impl AsRef<OsStr>) -> Command {
        let mut command = bare("setpriv");
        command
            .args(["--reuid", &self.uid.to_string()])
            .args(["--regid", &self.gid.to_string()])
            .arg("--clear-groups")
            .args(["--inh-caps", &format!("+{capability}")])
            .args(["--ambient-caps", &format!("+{capability}")])
            .arg(program);
        command
    }

    fn enough_rights(&self) -> Result<Rights, StartError> {
        let mut reason = String::new();
        let keys = KEYS.into_iter().map(Rights::WithKey);
        for rights in std::iter::once(Rights::SteppedDown).chain(keys) {
            match self.try_home(rights) {
                Ok(output) if output.status.success() => return Ok(rights),
                Ok(output) => reason = String::from_utf8_lossy(&output.stderr).trim().to_owned(),
                Err(err) => reason = err.to_string(),
            }
        }
        Err(StartError::ClosedParent {
            uid: self.uid,
            home: self.home.clone(),
            reason,
        })
    }

    fn try_home(&self, rights: Rights) -> io::Result<Output> {
        let candidate = Self {
            rights,
            home: PathBuf::from("/"),
            ..*self
        };
        let mut enter = candidate.script("cd \"$1\"", &self.home);
        enter.output()
    }
}

/// A command that inherits nothing that could change what Postgres does (`PGDATA`, `LC_ALL`, …).
pub(crate) fn bare(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", PATH).env("LC_ALL", "C");
    // Postgres outside the system's folders may need it to find its own libraries.
    if let Some(libraries) = std::env::var_os("LD_LIBRARY_PATH") {
        command.env("LD_LIBRARY_PATH", libraries);
    }
    command.stdin(std::process::Stdio::null());
    command
}

fn settle_home(home: &Path) -> Result<(u32, u32), StartError> {
    let created = DirBuilder::new().mode(0o700).create(home);
    if let Err(err) = created
        && err.kind() != io::ErrorKind::AlreadyExists
    {
        return Err(FileError::of("create", home)(err).into());
    }
    let found = fs::symlink_metadata(home).map_err(FileError::of("look at", home))?;
    let is_root = rustix::process::geteuid().is_root();
    if !is_root || found.uid() != 0 {
        return Ok((found.uid(), found.gid()));
    }
    let (uid, gid) = unprivileged().ok_or(StartError::NoAccount)?;
    lchown(home, Some(uid), Some(gid)).map_err(FileError::of("give away", home))?;
    Ok((uid, gid))
}

fn unprivileged() -> Option<(u32, u32)> {
    CANDIDATES
        .iter()
        .find_map(|name| Some((id_of("-u", name)?, id_of("-g", name)?)))
}

/// Asks `id`, which knows accounts that are not in `/etc/passwd`.
fn id_of(which: &str, name: &str) -> Option<u32> {
    let output = bare("id").args([which, name]).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}
