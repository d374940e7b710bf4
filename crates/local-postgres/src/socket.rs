//! The folder of the server's socket: short, and its owner's alone.
//!
//! The kernel refuses socket paths of more than 107 bytes (103 on macOS), and data directories may
//! be longer. So the folder lies in the user's runtime folder or in `/tmp`, named after the data
//! directory. Anyone may create names in `/tmp`: a folder that we find there is used only if
//! nobody else can have put a socket of theirs into it.

use std::fs::{self, DirBuilder, Metadata};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, lchown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tracing::debug;

use crate::account::Account;
use crate::error::{FileError, StartError};
use crate::place::Place;

/// The port is only a part of the socket's name; the server listens on no network.
pub(crate) const PORT: u16 = 5432;

/// What macOS allows for the whole path (the smallest limit), less `/.s.PGSQL.5432`.
const FOLDER_BYTES_MAX: usize = 103 - 14;

/// Folders that may hold ours, best first.
pub(crate) fn bases() -> Vec<PathBuf> {
    // Root's runtime folder is closed to the account that runs the server for root.
    let of_user = std::env::var_os("XDG_RUNTIME_DIR")
        .filter(|_| !rustix::process::geteuid().is_root())
        .map(PathBuf::from);
    of_user.into_iter().chain([PathBuf::from("/tmp")]).collect()
}

/// Creates the folder, or takes the one that is there if it can be trusted.
pub(crate) fn prepare(
    bases: &[PathBuf],
    place: &Place,
    account: &Account,
) -> Result<PathBuf, StartError> {
    let mut hash = DefaultHasher::new();
    place.path().hash(&mut hash);
    let name = format!("billing-{}-{:016x}", account.uid, hash.finish());
    let folder = bases
        .iter()
        .filter(|base| base.is_dir())
        .map(|base| base.join(&name))
        .find(|folder| is_plain(folder) && folder.as_os_str().len() <= FOLDER_BYTES_MAX)
        .unwrap_or_else(|| Path::new("/tmp").join(&name));
    match DirBuilder::new().mode(0o700).create(&folder) {
        Err(err) if err.kind() != io::ErrorKind::AlreadyExists => {
            return Err(FileError::of("create", &folder)(err).into());
        }
        Ok(()) | Err(_) => {}
    }
    claim(&folder, account.uid)?;
    clear(&folder)?;
    Ok(folder)
}

/// Removes what a killed server left. The lock beside its socket names the server's old process id,
/// which may belong to a stranger now, or to a zombie where nobody collects the dead (as in many
/// containers): Postgres would take either for a rival. No rival can be here: we stand inside the
/// gate, and the cluster has a lock of its own.
fn clear(folder: &Path) -> Result<(), FileError> {
    let socket = folder.join(format!(".s.PGSQL.{PORT}"));
    let lock = folder.join(format!(".s.PGSQL.{PORT}.lock"));
    for path in [socket, lock] {
        match fs::remove_file(&path) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => {
                return Err(FileError::of("remove", &path)(err));
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// Removes the folder of a server that has stopped; what it cannot remove does no harm.
pub(crate) fn remove(folder: &Path) {
    if let Err(err) = fs::remove_dir(folder) {
        debug!("The socket's folder {} stays: {err}", folder.display());
    }
}

/// Checks that a server listens, so that joining it does not end in a puzzling refusal later.
pub(crate) fn expect_listener(folder: &Path) -> Result<(), StartError> {
    let socket = folder.join(format!(".s.PGSQL.{PORT}"));
    match UnixStream::connect(socket) {
        Ok(_) => Ok(()),
        Err(source) => Err(StartError::Unreachable {
            folder: folder.to_path_buf(),
            source,
        }),
    }
}

/// The folder as the host of a connection URL.
pub(crate) fn as_url_host(folder: &Path) -> String {
    folder.to_string_lossy().replace('/', "%2F")
}

/// The path stands in a URL and in the server's settings: no byte of it may need quoting.
fn is_plain(folder: &Path) -> bool {
    let bytes = folder.as_os_str().as_encoded_bytes();
    bytes
        .iter()
        .all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(byte))
}

fn claim(folder: &Path, server: u32) -> Result<(), StartError> {
    let ours = rustix::process::geteuid().as_raw();
    // Not `metadata`: it would follow a link to a folder of somebody else's choice.
    let found = fs::symlink_metadata(folder).map_err(FileError::of("look at", folder))?;
    if let Some(reason) = distrust(&found, &[ours, server]) {
        return Err(StartError::SocketFolder {
            path: folder.to_path_buf(),
            reason,
        });
    }
    if found.uid() != server {
        lchown(folder, Some(server), None).map_err(FileError::of("give away", folder))?;
    }
    Ok(())
}

fn distrust(found: &Metadata, trusted: &[u32]) -> Option<String> {
    if !found.is_dir() {
        return Some("it is not a folder".to_owned());
    }
    if !trusted.contains(&found.uid()) {
        return Some(format!("it belongs to the user with id {}", found.uid()));
    }
    let mode = found.mode() & 0o777;
    (mode & 0o077 != 0).then(|| format!("others may enter it (mode {mode:o})"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use tempfile::TempDir;

    use super::*;

    /// A base to put the folder in, and what decides about its name.
    struct Scene {
        base: TempDir,
        place: Place,
        account: Account,
    }

    impl Scene {
        fn new() -> Self {
            let base = tempfile::tempdir().unwrap();
            let place = Place::create(&base.path().join("data")).unwrap();
            let account = Account::of(&place).unwrap();
            Self {
                base,
                place,
                account,
            }
        }

        fn prepare(&self) -> Result<PathBuf, StartError> {
            prepare(&[self.base.path().into()], &self.place, &self.account)
        }

        fn refusal(&self) -> String {
            match self.prepare() {
                Err(StartError::SocketFolder { reason, .. }) => reason,
                other => panic!("expected a refusal, got {other:?}"),
            }
        }
    }

    #[test]
    fn a_folder_of_ours_is_used_again() {
        let scene = Scene::new();

        let first = scene.prepare().unwrap();
        let second = scene.prepare().unwrap();

        assert_eq!(first, second);
        let found = fs::symlink_metadata(&first).unwrap();
        assert_eq!(
            (found.uid(), found.mode() & 0o777),
            (scene.account.uid, 0o700)
        );
    }

    #[test]
    fn a_folder_that_others_may_enter_is_refused() {
        let scene = Scene::new();
        let folder = scene.prepare().unwrap();

        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();

        assert_eq!(scene.refusal(), "others may enter it (mode 755)");
    }

    #[test]
    fn a_link_in_the_folders_place_is_refused() {
        let scene = Scene::new();
        let folder = scene.prepare().unwrap();
        fs::remove_dir(&folder).unwrap();

        symlink(scene.place.home(), &folder).unwrap();

        assert_eq!(scene.refusal(), "it is not a folder");
    }

    #[test]
    fn a_folder_of_another_user_is_refused() {
        let found = fs::symlink_metadata("/usr").unwrap();

        let reason = distrust(&found, &[4711]).unwrap();

        assert_eq!(reason, "it belongs to the user with id 0");
    }

    #[test]
    fn a_base_that_is_too_long_or_needs_quoting_is_passed_over() {
        let scene = Scene::new();
        let long = scene.base.path().join("l".repeat(100));
        let odd = scene.base.path().join("o'dd");
        fs::create_dir(&long).unwrap();
        fs::create_dir(&odd).unwrap();

        let bases = [long, odd, scene.base.path().into()];
        let folder = prepare(&bases, &scene.place, &scene.account).unwrap();

        assert_eq!(folder.parent(), Some(scene.base.path()));
    }
}
