//! A file that is there whole or not at all, whatever stops the program that writes it.
//!
//! It is written under a temporary name in the folder of its target, made durable, and renamed. The
//! temporary name is new each time: two writers that shared one would truncate each other's file
//! between writing and renaming. What a killed writer leaves behind is removed by
//! [`clear_leftovers`].

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Ends every temporary name.
const UNFINISHED: &str = ".part";
/// A writer that has not written for so long is dead. Far longer than a disk hesitates.
const SILENCE: Duration = Duration::from_secs(3600);

/// A file on its way to its name; dropped before [`WholeFile::finish`], it leaves nothing behind.
#[derive(Debug)]
pub struct WholeFile {
    content: BufWriter<File>,
    name: Name,
}

/// The names of a file on its way; dropped before it is placed, the file is removed.
#[derive(Debug)]
pub(super) struct Name {
    /// Taken once the file has its own name.
    temporary: Option<PathBuf>,
    target: PathBuf,
}

impl WholeFile {
    /// Opens a temporary file beside `target`, whose folder must exist.
    ///
    /// # Errors
    /// The file system's.
    pub fn create(target: &Path) -> io::Result<Self> {
        let name = format!(
            "{}{}{UNFINISHED}",
            prefix(target)?,
            outbox::ids::new().simple()
        );
        let temporary = folder(target).join(name);
        let file = File::create_new(&temporary)?;
        let content = BufWriter::new(file);
        Ok(Self {
            content,
            name: Name {
                temporary: Some(temporary),
                target: target.to_owned(),
            },
        })
    }

    /// Removes what writers of the same target left behind who have been silent for an hour, and
    /// nothing of one that is at work: several may be, and the last to finish wins. Ages are by the
    /// file system's own clock, from which this file, too, has its age.
    ///
    /// # Errors
    /// The file system's.
    pub fn clear_old_leftovers(&self) -> io::Result<()> {
        let now = self.content.get_ref().metadata()?.modified()?;
        each_leftover(&self.name.target, |leftover| {
            // One that is gone by now has found its name, or another remover.
            let Ok(about) = fs::metadata(leftover) else {
                return Ok(());
            };
            let silence = now.duration_since(about.modified()?).unwrap_or_default();
            if silence < SILENCE {
                return Ok(());
            }
            remove_if_there(leftover)
        })
    }

    /// Makes the content durable, then gives it its name, in place of what had it before.
    ///
    /// # Errors
    /// The file system's; the target is then as it was, or complete and perhaps not durable yet.
    pub fn finish(mut self) -> io::Result<()> {
        self.content.flush()?;
        self.content.get_ref().sync_all()?;
        self.name.place()?;
        sync_folder(folder(&self.name.target))
    }

    /// Closes the file, whose content is durable only when told so.
    pub(super) fn close(mut self, durable: bool) -> io::Result<Name> {
        self.content.flush()?;
        if durable {
            self.content.get_ref().sync_all()?;
        }
        Ok(self.name)
    }
}

impl Name {
    /// Gives the file its own name. Call it when the content is durable.
    pub(super) fn place(&mut self) -> io::Result<()> {
        if let Some(temporary) = &self.temporary {
            fs::rename(temporary, &self.target)?;
        }
        self.temporary = None;
        Ok(())
    }
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.content.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.content.flush()
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary
            && let Err(error) = fs::remove_file(temporary)
        {
            let file = temporary.display();
            tracing::debug!(%error, "The unfinished {file} stays until its target is written");
        }
    }
}

/// Removes what killed writers of `target` left beside it.
///
/// A writer that is at work loses its file too and fails: call it only where one writer is meant to
/// be.
///
/// # Errors
/// The file system's.
pub fn clear_leftovers(target: &Path) -> io::Result<()> {
    each_leftover(target, remove_if_there)
}

fn each_leftover(target: &Path, on: impl Fn(&Path) -> io::Result<()>) -> io::Result<()> {
    let prefix = prefix(target)?;
    for entry in fs::read_dir(folder(target))? {
        let entry = entry?;
        let name = entry.file_name();
        let is_ours = name
            .to_str()
            .is_some_and(|name| name.starts_with(&prefix) && name.ends_with(UNFINISHED));
        if is_ours {
            on(&entry.path())?;
        }
    }
    Ok(())
}

/// Makes the names in a folder durable: without it a crash can forget a file that was written.
///
/// # Errors
/// The file system's.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// How the temporary names of a target begin.
fn prefix(target: &Path) -> io::Result<String> {
    let name = target.file_name().and_then(|name| name.to_str());
    let named = name.map(|name| format!(".{name}."));
    named.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidFilename, "the path names no file"))
}

pub(super) fn folder(target: &Path) -> &Path {
    match target.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(target: &Path, text: &str) -> io::Result<()> {
        let mut file = WholeFile::create(target)?;
        file.write_all(text.as_bytes())?;
        file.finish()
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_finished_file_replaces_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.html");

        write(&target, "first").unwrap();
        write(&target, "second").unwrap();

        assert_eq!(fs::read_to_string(&target).unwrap(), "second");
        assert_eq!(names(folder.path()), ["a.html"]);
    }

    #[test]
    fn a_file_that_is_given_up_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.html");

        let mut file = WholeFile::create(&target).unwrap();
        file.write_all(b"half").unwrap();
        drop(file);

        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn one_of_several_writers_removes_what_is_old_and_nothing_of_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.csv");
        let killed = folder.path().join(".a.csv.1.part");
        let of_old = fs::metadata(folder.path()).unwrap().modified().unwrap() - 2 * SILENCE;
        File::create(&killed).unwrap().set_modified(of_old).unwrap();

        let mut first = WholeFile::create(&target).unwrap();
        let mut second = WholeFile::create(&target).unwrap();
        second.clear_old_leftovers().unwrap();
        for (file, text) in [(&mut first, "first"), (&mut second, "second")] {
            file.write_all(text.as_bytes()).unwrap();
        }
        first.finish().unwrap();
        second.finish().unwrap();

        assert_eq!(names(folder.path()), ["a.csv"]);
        assert_eq!(fs::read_to_string(&target).unwrap(), "second");
    }

    /// The control: who removes everything takes away what another is writing.
    #[test]
    fn one_of_several_writers_that_removes_everything_makes_the_others_fail() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.csv");

        let first = WholeFile::create(&target).unwrap();
        clear_leftovers(&target).unwrap();

        assert_eq!(first.finish().unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    /// The control: a file that is written in place is half there when its writer is killed.
    #[test]
    fn written_in_place_a_killed_writer_leaves_half_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.html");
        fs::write(&target, "the whole file of before").unwrap();

        let mut killed = File::create(&target).unwrap();
        killed.write_all(b"half").unwrap();
        std::mem::forget(killed);

        assert_eq!(fs::read_to_string(&target).unwrap(), "half");
    }

    #[test]
    fn a_killed_writer_leaves_no_target_and_its_leftover_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.html");
        let neighbour = folder.path().join(".b.html.1.part");
        fs::write(&neighbour, "of another file").unwrap();
        let mut killed = WholeFile::create(&target).unwrap();
        killed.write_all(b"half").unwrap();
        killed.flush().unwrap();
        std::mem::forget(killed);
        assert_eq!(names(folder.path()).len(), 2);

        clear_leftovers(&target).unwrap();
        write(&target, "whole").unwrap();

        assert_eq!(names(folder.path()), [".b.html.1.part", "a.html"]);
        assert_eq!(fs::read_to_string(&target).unwrap(), "whole");
    }
}
