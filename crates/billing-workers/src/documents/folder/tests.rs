//! What the folder promises when disks and people do what they do.

use std::process::Command;

use super::*;

const PATH: &str = "2024-09/INV-000xxx/INV-000001.html";

fn files_below(root: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                names.push(
                    path.strip_prefix(root)
                        .unwrap()
                        .to_str()
                        .unwrap()
                        .to_owned(),
                );
            }
        }
    }
    names
}

#[test]
fn a_file_written_twice_is_one_file() {
    let root = tempfile::tempdir().unwrap();
    let folder = Folder::create(&root.path().join("documents"), "documents'").unwrap();

    folder.write(PATH, b"bytes", false).unwrap();
    folder.write(PATH, b"bytes", true).unwrap();

    let documents = root.path().join("documents");
    assert_eq!(files_below(&documents), [PATH]);
    assert_eq!(fs::read(documents.join(PATH)).unwrap(), b"bytes");
}

#[test]
fn another_attempt_removes_what_the_killed_one_left() {
    let root = tempfile::tempdir().unwrap();
    let folder = Folder::create(root.path(), "documents'").unwrap();
    folder
        .write("2024-09/INV-000xxx/INV-000002.html", b"neighbour", false)
        .unwrap();
    let mut killed = WholeFile::create(&root.path().join(PATH)).unwrap();
    killed.write_all(b"half").unwrap();
    std::mem::forget(killed);
    assert_eq!(files_below(root.path()).len(), 2);

    folder.write(PATH, b"whole", true).unwrap();

    let mut files = files_below(root.path());
    files.sort();
    assert_eq!(files, [PATH, "2024-09/INV-000xxx/INV-000002.html"]);
}

#[test]
fn a_sub_folder_that_was_removed_is_made_again() {
    let root = tempfile::tempdir().unwrap();
    let folder = Folder::create(root.path(), "documents'").unwrap();
    folder.write(PATH, b"bytes", false).unwrap();
    fs::remove_dir_all(root.path().join("2024-09")).unwrap();

    let error = folder.write(PATH, b"bytes", false).unwrap_err();
    assert!(error.is_of_the_folder());
    folder.write(PATH, b"bytes", false).unwrap();

    assert_eq!(files_below(root.path()), [PATH]);
}

#[test]
fn a_root_that_is_gone_is_waited_for_and_not_made_anew() {
    let root = tempfile::tempdir().unwrap();
    let mount = root.path().join("mount");
    let folder = Folder::create(&mount, "documents'").unwrap();
    fs::remove_dir(&mount).unwrap();

    let error = folder.write(PATH, b"bytes", false).unwrap_err();

    assert!(error.is_of_the_folder(), "{error}");
    assert!(!mount.exists());
}

#[test]
fn a_file_where_the_folder_should_be_is_waited_out() {
    let root = tempfile::tempdir().unwrap();
    let mount = root.path().join("mount");
    let folder = Folder::create(&mount, "documents'").unwrap();
    fs::remove_dir(&mount).unwrap();
    fs::write(&mount, "in the way").unwrap();

    let error = folder.write(PATH, b"bytes", false).unwrap_err();

    assert!(error.is_of_the_folder(), "{error}");
    assert!(Folder::create(&mount, "documents'").is_err());
}

#[test]
fn trouble_with_one_file_is_not_the_folders() {
    let root = tempfile::tempdir().unwrap();
    let folder = Folder::create(root.path(), "documents'").unwrap();
    fs::create_dir_all(root.path().join(PATH).join("in the way")).unwrap();

    let error = folder.write(PATH, b"bytes", false).unwrap_err();

    assert!(!error.is_of_the_folder(), "{error}");
    assert!(error.to_string().contains(PATH));
}

#[test]
fn a_folder_that_refuses_even_root_is_waited_out() {
    let refusing = if cfg!(target_os = "linux") {
        "/sys"
    } else {
        "/System"
    };
    let folder = Folder::create(Path::new(refusing), "documents'").unwrap();

    let error = folder.write(PATH, b"bytes", false).unwrap_err();

    assert!(error.is_of_the_folder(), "{error}");
}

#[test]
fn the_errors_of_a_disk_are_told_from_those_of_a_file() {
    let is_of_the_folder = |errno: i32| {
        let source = io::Error::from_raw_os_error(errno);
        FolderError {
            whose: "documents'",
            path: PathBuf::new(),
            source,
        }
        .is_of_the_folder()
    };
    let (eperm, enoent, eio, eacces, eisdir, enospc, erofs) = (1, 2, 5, 13, 21, 28, 30);

    for errno in [eperm, enoent, eacces, enospc, erofs] {
        assert!(is_of_the_folder(errno), "{errno}");
    }
    for errno in [eio, eisdir] {
        assert!(!is_of_the_folder(errno), "{errno}");
    }
}

/// A disk of 64 KiB, for as long as the test runs.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Option<Self> {
        fs::create_dir(at).unwrap();
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
            .arg(at);
        let is_mounted = mount.output().is_ok_and(|mounted| mounted.status.success());
        is_mounted.then(|| Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        assert!(
            Command::new("umount")
                .arg(&self.0)
                .status()
                .unwrap()
                .success()
        );
    }
}

/// Who may not mount sees the refusal in the output; the errors as such are tested above.
#[test]
fn a_full_disk_is_waited_out_and_leaves_nothing_half() {
    let root = tempfile::tempdir().unwrap();
    let disk = root.path().join("disk");
    let Some(mounted) = SmallDisk::mount(&disk) else {
        eprintln!("cannot mount a small disk here: not tried with a full one");
        return;
    };
    let folder = Folder::create(&disk, "documents'").unwrap();
    folder.write("first.html", &[b'x'; 40_000], false).unwrap();

    let error = folder.write(PATH, &[b'x'; 40_000], false).unwrap_err();
    assert!(error.is_of_the_folder(), "{error}");
    assert_eq!(files_below(&disk), ["first.html"]);
    fs::remove_file(disk.join("first.html")).unwrap();
    folder.write(PATH, &[b'x'; 40_000], true).unwrap();

    assert_eq!(files_below(&disk), [PATH]);
    drop(mounted);
}
