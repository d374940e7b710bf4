//! The folder of a gateway: its books, the lock that says who keeps them, and the address where.
//!
//! The lock is an `flock`, which the kernel drops when its holder is killed. The address stays when
//! the gateway stops: the next one takes the same, if it is free, and callers need not be told.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::signature::hex;

const LOCK_FILE: &str = "gateway-sim.lock";
const ADDRESS_FILE: &str = "gateway-sim.address";

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}: give a folder that this user may write")]
pub struct FolderError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// The folder that gateways share by taking turns.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    path: PathBuf,
}

/// The right to keep the books. Dropped, it passes to the next.
#[derive(Debug)]
pub(crate) struct Claim {
    _lock: File,
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

impl Folder {
    /// Opens the folder, makes it if need be.
    pub(crate) fn open(path: &Path) -> Result<Self, FolderError> {
        let failed = |action| move |source| failure(action, path, source);
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(failed("make"))?;
        let path = path.canonicalize().map_err(failed("open"))?;
        Ok(Self { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Names the books of this folder, to whoever asks for them at an address.
    pub(crate) fn books_id(&self) -> String {
        let digest = Sha256::digest(self.path.as_os_str().as_encoded_bytes());
        hex(&digest[..8])
    }

    /// The right to keep the books, unless another has it.
    pub(crate) fn claim(&self) -> Result<Option<Claim>, FolderError> {
        let path = self.path.join(LOCK_FILE);
        let failed = |action| move |source| failure(action, &self.path, source);
        let mut open = OpenOptions::new();
        open.create(true).truncate(false).write(true).mode(0o600);
        let lock = open.open(path).map_err(failed("open the lock in"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(Claim { _lock: lock })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(source)) => Err(failed("lock")(source)),
        }
    }

    /// Where the gateway listens, or listened last.
    pub(crate) fn address(&self) -> Option<String> {
        let written = fs::read_to_string(self.path.join(ADDRESS_FILE)).ok()?;
        let address = written.trim();
        (!address.is_empty()).then(|| address.to_owned())
    }

    /// Tells where the gateway listens: all at once, so that no reader sees half of it.
    pub(crate) fn tell_address(&self, url: &str) -> Result<(), FolderError> {
        let path = self.path.join(ADDRESS_FILE);
        let draft = path.with_extension("address.new");
        let written = fs::write(&draft, format!("{url}\n"));
        let written = written.and_then(|()| fs::rename(&draft, &path));
        written.map_err(|source| failure("write", &path, source))
    }
}

fn failure(action: &'static str, path: &Path, source: io::Error) -> FolderError {
    let path = path.to_owned();
    FolderError {
        action,
        path,
        source,
    }
}
