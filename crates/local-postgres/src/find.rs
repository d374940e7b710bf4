//! Finding the server's programs on this machine.
//!
//! The first folder wins that holds a whole server of a version that we can use: what `pg_config`
//! and `PATH` name, then where distributions put it, newest first. A folder with client programs
//! alone (a `pg_config` of a development package points to such) is passed over.

use std::env;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::StartError;

/// The oldest major version that the product is tested with.
pub(crate) const MIN_MAJOR: u32 = 15;

/// Programs that must lie side by side.
const PROGRAMS: [&str; 4] = ["postgres", "initdb", "pg_ctl", "psql"];

/// Where distributions put the programs: a parent, what stands before the version, and after it.
const DISTRIBUTIONS: [(&str, &str, &str); 7] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/usr/libexec", "postgresql", ""),
    ("/usr/lib", "postgresql", "bin"),
    ("/opt/homebrew/opt", "postgresql@", "bin"),
    ("/usr/local/opt", "postgresql@", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
];

/// A whole server.
#[derive(Debug, Clone)]
pub(crate) struct Installation {
    pub(crate) folder: PathBuf,
    pub(crate) version: String,
    major: u32,
}

impl Installation {
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn in_folder(folder: &Path) -> Option<Self> {
        // `/usr/local/bin/postgres` may be a link; its neighbours are where it points to.
        let postgres = fs::canonicalize(folder.join("postgres")).ok()?;
        let folder = postgres.parent()?.to_path_buf();
        if !PROGRAMS.iter().all(|name| folder.join(name).is_file()) {
            return None;
        }
        let output = Command::new(postgres).arg("--version").output().ok()?;
        let (version, major) = parse_version(&String::from_utf8_lossy(&output.stdout))?;
        Some(Self {
            folder,
            version,
            major,
        })
    }
}

impl fmt::Display for Installation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Postgres {} in {}", self.version, self.folder.display())
    }
}

/// The first usable installation in `folders`; `written` is the cluster `place`'s major version, if
/// the cluster exists: no other version can read it.
pub(crate) fn find(
    folders: &[PathBuf],
    place: &Path,
    written: Option<u32>,
) -> Result<Installation, StartError> {
    let mut others: Vec<String> = Vec::new();
    for found in folders
        .iter()
        .filter_map(|folder| Installation::in_folder(folder))
    {
        if written.map_or(found.major >= MIN_MAJOR, |major| found.major == major) {
            return Ok(found);
        }
        let found = found.to_string();
        if !others.contains(&found) {
            others.push(found);
        }
    }
    let install = InstallCommand::of_this_system();
    let found = others.join(", ");
    Err(match written {
        _ if others.is_empty() => StartError::NotInstalled { install },
        None => StartError::TooOld { found, install },
        Some(written) => StartError::OtherMajor {
            place: place.to_path_buf(),
            written,
            found,
        },
    })
}

/// The folders of this machine that may hold the programs, best first.
pub(crate) fn folders() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    named_by_pg_config()
        .into_iter()
        .chain(env::split_paths(&path))
        .chain(DISTRIBUTIONS.iter().flat_map(versions))
        .chain([PathBuf::from("/usr/local/pgsql/bin"), "/usr/bin".into()])
        .collect()
}

fn named_by_pg_config() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    let folder = String::from_utf8(output.stdout).ok()?;
    Some(folder.trim().into())
}

/// The folders of one distribution, newest version first.
fn versions(&(parent, before, after): &(&str, &str, &str)) -> Vec<PathBuf> {
    let names = fs::read_dir(parent).into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> = names
        .filter_map(|entry| {
            let name = entry.file_name();
            let version = name.to_str()?.strip_prefix(before)?.parse().ok()?;
            Some((version, entry.path().join(after)))
        })
        .collect();
    found.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    found.into_iter().map(|(_, folder)| folder).collect()
}

/// From `postgres (PostgreSQL) 15.18 (Debian …)`; development versions read `19devel`.
fn parse_version(text: &str) -> Option<(String, u32)> {
    let version = text
        .split("(PostgreSQL)")
        .nth(1)?
        .split_whitespace()
        .next()?;
    let digits = version.split(|c: char| !c.is_ascii_digit()).next()?;
    Some((version.to_owned(), digits.parse().ok()?))
}

/// The command that installs Postgres on some system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstallCommand(&'static str);

impl InstallCommand {
    fn of_this_system() -> Self {
        if cfg!(target_os = "macos") {
            return Self("brew install postgresql@17");
        }
        Self::of(&fs::read_to_string("/etc/os-release").unwrap_or_default())
    }

    fn of(os_release: &str) -> Self {
        // A derived system names its ancestors in ID_LIKE.
        let lines = os_release.lines();
        let ids = lines.filter_map(|line| {
            let id = line.strip_prefix("ID=");
            id.or_else(|| line.strip_prefix("ID_LIKE="))
        });
        let ids: Vec<&str> = ids
            .flat_map(|value| value.trim_matches('"').split_whitespace())
            .collect();
        let is = |names: &[&str]| ids.iter().any(|id| names.contains(id));
        Self(if is(&["debian", "ubuntu"]) {
            "apt-get install postgresql"
        } else if is(&["fedora", "rhel", "centos"]) {
            "dnf install postgresql-server"
        } else if is(&["alpine"]) {
            "apk add postgresql postgresql-client"
        } else if is(&["arch"]) {
            "pacman -S postgresql"
        } else if is(&["suse", "opensuse"]) {
            "zypper install postgresql-server"
        } else {
            "the installer from https://www.postgresql.org/download/"
        })
    }
}

impl fmt::Display for InstallCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

#[cfg(test)]
mod tests;
