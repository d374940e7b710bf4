//! The passwords of the cluster's two roles: random, in files that only the owner may read.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::error::FileError;

/// 16 random bytes cannot be guessed; more would only make the URL longer.
const BYTES: usize = 16;

/// Reads the password that an earlier start wrote.
pub(crate) fn read(path: &Path) -> Result<String, FileError> {
    let text = fs::read_to_string(path).map_err(FileError::of("read the password", path))?;
    Ok(text.trim_end().to_owned())
}

/// Writes a new password in place of any older one and returns it.
pub(crate) fn create(path: &Path) -> Result<String, FileError> {
    let password = random()?;
    let draft = path.with_extension("password.new");
    write(&draft, &password).map_err(FileError::of("write the password", &draft))?;
    fs::rename(&draft, path).map_err(FileError::of("write the password", path))?;
    Ok(password)
}

fn write(path: &Path, password: &str) -> std::io::Result<()> {
    if path.exists() {
        fs::remove_file(path)?;
    }
    let mut file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(path)?;
    writeln!(file, "{password}")?;
    file.sync_all()
}

/// Hexadecimal, so that it needs no quoting in SQL, in a URL or in a shell.
fn random() -> Result<String, FileError> {
    let source = Path::new("/dev/urandom");
    let mut bytes = [0; BYTES];
    File::open(source)
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(FileError::of("read", source))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_password_is_random_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("postgres.password");

        let first = create(&path).unwrap();
        let second = create(&path).unwrap();

        assert_ne!(first, second);
        assert_eq!(read(&path).unwrap(), second);
        assert_eq!(second.len(), 2 * BYTES);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
