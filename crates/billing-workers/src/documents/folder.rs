//! A folder of documents or mails: files that are there whole or not at all.

use std::collections::HashSet;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use billing::document::{self, WholeFile, clear_leftovers, sync_folder};

/// Why a file or its folder could not be written.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot write {} ({source}): is the {whose} folder there, writable and not full?",
    path.display()
)]
pub struct FolderError {
    whose: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl FolderError {
    /// Whether the trouble is of the folder or its disk, so that every other file has it too.
    #[must_use]
    pub fn is_of_the_folder(&self) -> bool {
        matches!(
            self.source.kind(),
            ErrorKind::StorageFull
                | ErrorKind::QuotaExceeded
                | ErrorKind::PermissionDenied
                | ErrorKind::ReadOnlyFilesystem
                // A folder that is gone, or stands where a mount is missing.
                | ErrorKind::NotFound
                | ErrorKind::NotADirectory
                // A mount over the network.
                | ErrorKind::StaleNetworkFileHandle
                | ErrorKind::NotConnected
                | ErrorKind::HostUnreachable
                | ErrorKind::NetworkUnreachable
                | ErrorKind::NetworkDown
                | ErrorKind::TimedOut
        )
    }
}

/// A file to be written below a folder's root.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewFile<'a> {
    pub(crate) path: &'a str,
    pub(crate) bytes: &'a [u8],
    /// Whether an earlier attempt may have left an unfinished file.
    pub(crate) again: bool,
}

/// A folder with sub-folders.
#[derive(Debug)]
pub(crate) struct Folder {
    /// What lies in it, for people: `documents'`.
    whose: &'static str,
    root: PathBuf,
    /// Sub-folders of which this program knows that a crash of the machine keeps them.
    known: Mutex<HashSet<PathBuf>>,
}

impl Folder {
    /// Only here is the root created. Later it is expected: were a missing one made anew, files
    /// would land below a mount that is not there.
    pub(crate) fn create(root: &Path, whose: &'static str) -> Result<Self, FolderError> {
        let folder = Self {
            whose,
            root: root.to_owned(),
            known: Mutex::default(),
        };
        fs::create_dir_all(root).map_err(|source| FolderError {
            whose,
            path: root.to_owned(),
            source,
        })?;
        Ok(folder)
    }

    /// Writes a file below the root, durably, in place of what was there.
    pub(crate) fn write(&self, path: &str, bytes: &[u8], again: bool) -> Result<(), FolderError> {
        let path = Path::new(path);
        let written = self.try_write(path, bytes, again);
        written.map_err(|source| self.blame(path, source))
    }

    fn try_write(&self, path: &Path, bytes: &[u8], again: bool) -> io::Result<()> {
        let mut file = WholeFile::create(&self.prepare(path, again)?)?;
        file.write_all(bytes)?;
        file.finish()
    }

    /// Writes many files, which are made durable together; one result each, in their order.
    pub(crate) fn write_all(&self, files: &[NewFile<'_>]) -> Vec<Result<(), FolderError>> {
        let targets: Vec<_> = files
            .iter()
            .map(|file| self.prepare(Path::new(file.path), file.again))
            .collect();
        let ready = files.iter().zip(&targets);
        let ready: Vec<(PathBuf, &[u8])> = ready
            .filter_map(|(file, target)| Some((target.as_ref().ok()?.clone(), file.bytes)))
            .collect();
        let mut written = document::write_all(&ready).into_iter();
        let results = files.iter().zip(targets).map(|(file, target)| {
            let ended = match target {
                Ok(_) => written.next().expect("one result for each file"),
                Err(error) => Err(error),
            };
            ended.map_err(|source| self.blame(Path::new(file.path), source))
        });
        results.collect()
    }

    /// Where the file goes, once its folders are there.
    fn prepare(&self, path: &Path, again: bool) -> io::Result<PathBuf> {
        self.ensure_parents(path)?;
        let target = self.root.join(path);
        if again {
            clear_leftovers(&target)?;
        }
        Ok(target)
    }

    fn blame(&self, path: &Path, source: io::Error) -> FolderError {
        if source.kind() == ErrorKind::NotFound {
            // Somebody removed a sub-folder: look again at the next attempt.
            self.known
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clear();
        }
        FolderError {
            whose: self.whose,
            path: self.root.join(path),
            source,
        }
    }

    /// Makes the sub-folders above a file, each durable in its parent before anything lies in it.
    fn ensure_parents(&self, path: &Path) -> io::Result<()> {
        let mut parents: Vec<&Path> = path.ancestors().skip(1).collect();
        parents.retain(|parent| *parent != Path::new(""));
        for parent in parents.into_iter().rev() {
            if self
                .known
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .contains(parent)
            {
                continue;
            }
            let folder = self.root.join(parent);
            match fs::create_dir(&folder) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            // Even if it was there: who made it may have been stopped before this.
            sync_folder(folder.parent().unwrap_or(&self.root))?;
            self.known
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(parent.to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
