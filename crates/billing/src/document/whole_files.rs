//! Many whole files at once, which share the wait for the disk.
//!
//! A file that is made durable by itself costs the file system a commit of its journal. Of many,
//! all are written under temporary names, the file system is told once to keep what it has been
//! given, and only then the files get their names. Each is there whole or not at all, as one alone
//! is.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::whole_file::{Name, WholeFile, folder};

/// Writes files whose folders exist, in place of what was there; one result each, in their order.
/// Those that went well are durable when it returns.
pub fn write_all(files: &[(PathBuf, &[u8])]) -> Vec<io::Result<()>> {
    // Opened before anything is written: a handle tells the errors that came after it.
    let folders: BTreeMap<&Path, io::Result<File>> = files
        .iter()
        .map(|(target, _)| folder(target))
        .map(|folder| (folder, File::open(folder)))
        .collect();
    let mut names: Vec<io::Result<Name>> = files.iter().map(write).collect();
    fail_with_folder(files, &mut names, &folders, sync_file_system);
    for name in &mut names {
        if let Ok(placed) = name
            && let Err(error) = placed.place()
        {
            *name = Err(error);
        }
    }
    fail_with_folder(files, &mut names, &folders, File::sync_all);
    names.into_iter().map(|name| name.map(|_| ())).collect()
}

fn write((target, content): &(PathBuf, &[u8])) -> io::Result<Name> {
    let mut file = WholeFile::create(target)?;
    file.write_all(content)?;
    file.close(!SYNCS_TOGETHER)
}

/// Makes each folder durable in this way; where one fails, so do its files.
fn fail_with_folder(
    files: &[(PathBuf, &[u8])],
    names: &mut [io::Result<Name>],
    folders: &BTreeMap<&Path, io::Result<File>>,
    sync: impl Fn(&File) -> io::Result<()>,
) {
    for (path, handle) in folders {
        let synced = handle.as_ref().map_err(again).and_then(&sync);
        let Err(error) = synced else { continue };
        for ((target, _), name) in files.iter().zip(&mut *names) {
            if folder(target) == *path && name.is_ok() {
                *name = Err(again(&error));
            }
        }
    }
}

/// The same error once more, for another file.
fn again(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => error.kind().into(),
    }
}

/// Whether the system can be told to keep all that a file system has been given.
const SYNCS_TOGETHER: bool = cfg!(target_os = "linux");

/// Makes all that was written to the file system of a folder durable.
#[cfg(target_os = "linux")]
fn sync_file_system(folder: &File) -> io::Result<()> {
    Ok(rustix::fs::syncfs(folder)?)
}

/// Each file is durable by itself.
#[cfg(not(target_os = "linux"))]
fn sync_file_system(_folder: &File) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn many_files_are_there_whole_in_place_of_what_was() {
        let root = tempfile::tempdir().unwrap();
        let paths = ["a.html", "b.html"].map(|name| root.path().join(name));
        fs::write(&paths[1], "before").unwrap();

        let contents: [&[u8]; 2] = [b"first", b"second"];
        let written = write_all(&[
            (paths[0].clone(), contents[0]),
            (paths[1].clone(), contents[1]),
        ]);

        assert!(written.iter().all(Result::is_ok), "{written:?}");
        assert_eq!(fs::read(&paths[0]).unwrap(), b"first");
        assert_eq!(fs::read(&paths[1]).unwrap(), b"second");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 2);
    }

    #[test]
    fn the_trouble_of_one_is_not_the_others() {
        let root = tempfile::tempdir().unwrap();
        let (in_the_way, good) = (root.path().join("a"), root.path().join("b"));
        let lost = root.path().join("gone").join("c");
        fs::create_dir_all(in_the_way.join("full")).unwrap();

        let files = [in_the_way, lost, good.clone()].map(|path| (path, b"text".as_slice()));
        let written = write_all(&files);

        assert!(written[0].is_err());
        assert_eq!(
            written[1].as_ref().unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
        assert!(written[2].is_ok());
        assert_eq!(fs::read(good).unwrap(), b"text");
        assert_eq!(
            fs::read_dir(root.path()).unwrap().count(),
            2,
            "nothing unfinished"
        );
    }
}
