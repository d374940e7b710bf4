//! The data directory and the names of everything that lies in it.

use std::fmt;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::error::{FileError, StartError};

/// A data directory that exists, by its canonical path: two spellings of one directory must meet at
/// the same locks and the same socket.
#[derive(Debug, Clone)]
pub(crate) struct Place(PathBuf);

impl Place {
    pub(crate) fn create(data_dir: &Path) -> Result<Self, StartError> {
        // Others may pass through, since the server's account may be another one, but not list it.
        DirBuilder::new()
            .recursive(true)
            .mode(0o711)
            .create(data_dir)
            .map_err(FileError::of("create", data_dir))?;
        let path = fs::canonicalize(data_dir).map_err(FileError::of("open", data_dir))?;
        Ok(Self(path))
    }

    /// Whether a data directory holds a cluster that was made ready.
    pub(crate) fn is_ready(data_dir: &Path) -> bool {
        Self(data_dir.to_owned()).ready().exists()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn gate(&self) -> PathBuf {
        self.0.join("postgres.gate")
    }

    pub(crate) fn holders(&self) -> PathBuf {
        self.0.join("postgres.holders")
    }

    pub(crate) fn billing_password(&self) -> PathBuf {
        self.0.join("postgres.password")
    }

    pub(crate) fn admin_password(&self) -> PathBuf {
        self.0.join("postgres-admin.password")
    }

    /// There once the database exists.
    pub(crate) fn ready(&self) -> PathBuf {
        self.0.join("postgres.ready")
    }

    /// What belongs to the server's account; every program of the server starts in this folder.
    pub(crate) fn home(&self) -> PathBuf {
        self.0.join("postgres")
    }

    pub(crate) fn cluster(&self) -> PathBuf {
        self.home().join("cluster")
    }

    /// The cluster while it is being created; it gets its real name when it is complete.
    pub(crate) fn unfinished(&self) -> PathBuf {
        self.home().join("cluster.new")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.home().join("log")
    }

    pub(crate) fn pidfile(&self) -> PathBuf {
        self.cluster().join("postmaster.pid")
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}
