//! Who may enter or leave (the gate), and who is inside (the holders).
//!
//! Every change of the number of holders happens inside the gate. So "I was the last one" stays
//! true until the server is down, and a newcomer waits at the gate rather than joining a server
//! that is about to stop. Both are `flock`s: the kernel drops them when a holder is killed.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tracing::info;

use crate::error::FileError;
use crate::place::Place;

/// The exclusive right to start, stop, enter or leave.
#[derive(Debug)]
pub(crate) struct Gate {
    file: File,
    path: PathBuf,
}

impl Gate {
    /// Waits for the gate.
    pub(crate) fn enter(place: &Place) -> Result<Self, FileError> {
        let path = place.gate();
        let file = open(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                info!("Waiting for a neighbour that starts or stops Postgres in {place}");
                file.lock().map_err(FileError::of("lock", &path))?;
            }
            Err(TryLockError::Error(err)) => return Err(FileError::of("lock", &path)(err)),
        }
        Ok(Self { file, path })
    }

    /// The gate as a program's standard input: when we are killed, the gate stays shut until the
    /// program that we started has ended, and nobody works on the cluster beside it.
    pub(crate) fn as_stdin(&self) -> Result<Stdio, FileError> {
        let file = self.file.try_clone();
        Ok(file.map_err(FileError::of("pass on", &self.path))?.into())
    }
}

/// A share in the running server.
#[derive(Debug)]
pub(crate) struct Hold {
    file: File,
    path: PathBuf,
}

impl Hold {
    /// Takes a share; the caller stands inside the gate.
    pub(crate) fn take(place: &Place) -> Result<Self, FileError> {
        let path = place.holders();
        let file = open(&path)?;
        file.lock_shared().map_err(FileError::of("lock", &path))?;
        Ok(Self { file, path })
    }

    /// Gives the share back and tells whether no other is left; the caller stands inside the gate.
    pub(crate) fn release_as_the_last(self) -> Result<bool, FileError> {
        self.file
            .unlock()
            .map_err(FileError::of("unlock", &self.path))?;
        match self.file.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(err)) => Err(FileError::of("lock", &self.path)(err)),
        }
    }
}

fn open(path: &Path) -> Result<File, FileError> {
    let file: io::Result<File> = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path);
    file.map_err(FileError::of("open", path))
}
