//! Writing a file so that whoever reads it sees all of it or none.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufWriter, Write};
use std::path::Path;

use tempfile::NamedTempFile;

use crate::error::{IoContext, Result};

/// Puts `bytes` at `path`: written aside in the same folder, synced, renamed over what was there.
///
/// # Errors
/// `Io` when the folder cannot be made or written to.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    replace_with(path, |file| file.write_all(bytes).at("write", path))
}

/// The same for what is too much to hold: `write` gets the file to write to; when it fails, what was there stays.
///
/// # Errors
/// As [`replace`], and whatever `write` says.
pub fn replace_with(path: &Path, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    aside(path, write)?.persist(path).map_err(|error| error.error).at("write", path)?;
    Ok(())
}

/// [`replace`] for what writes files itself: `write` gets the path of one beside `path`, empty, to fill.
///
/// # Errors
/// As [`replace`], and whatever `write` says.
pub fn replace_at(path: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let aside = aside(path, |_| Ok(()))?;
    write(aside.path())?;
    aside.as_file().sync_all().at("write", path)?;
    aside.persist(path).map_err(|error| error.error).at("write", path)?;
    Ok(())
}

/// [`replace`] where nothing is yet.
///
/// # Errors
/// `Io` when the folder cannot be made or written to; of the kind `AlreadyExists` when something is there.
pub fn create(path: &Path, bytes: &[u8]) -> Result<()> {
    let aside = aside(path, |file| file.write_all(bytes).at("write", path))?;
    aside.persist_noclobber(path).map_err(|error| error.error).at("write", path)?;
    Ok(())
}

/// The lock that the file at `path` stands for, held as long as the returned file is open, hence no longer than this process
/// lives; `None` while another process has it. The file and its folder are made where there are none, and stay.
///
/// # Errors
/// `Io` when they cannot be made, or the system has no locks.
pub fn try_lock(path: &Path) -> Result<Option<File>> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).at("create", dir)?;
    }
    let file = OpenOptions::new().create(true).append(true).open(path).at("open", path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(source)) => Err(source).at("lock", path),
    }
}

/// Whether `name` can be a folder's everywhere: up to 64 letters and digits of ASCII, `-`, `_` and `.`, a letter or digit first.
pub fn names_a_folder(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    name.len() <= 64 && name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(plain)
}

/// Puts a folder at `dir`: `fill` writes its files into an empty one beside it, which is then renamed over what was there.
///
/// # Errors
/// `Io` when it cannot be made, and whatever `fill` says; what was there stays then.
pub fn replace_folder(dir: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let parent = dir.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).at("create", parent)?;
    let aside =
        tempfile::Builder::new().prefix(".aside").tempdir_in(parent).at("create a folder in", parent)?;
    fill(aside.path())?;
    #[cfg(unix)]
    std::fs::set_permissions(aside.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .at("open", aside.path())?;
    let old = aside.path().with_extension("old");
    let was_there = dir.exists();
    if was_there {
        std::fs::rename(dir, &old).at("move", dir)?;
    }
    let new = aside.keep();
    if let Err(error) = std::fs::rename(&new, dir) {
        if was_there {
            let _ = std::fs::rename(&old, dir);
        }
        let _ = std::fs::remove_dir_all(&new);
        return Err(error).at("write", dir);
    }
    if was_there {
        std::fs::remove_dir_all(&old).at("remove", &old)?;
    }
    Ok(())
}

/// A file beside `path`, written and on the disk.
fn aside(path: &Path, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<NamedTempFile> {
    // A bare file name has the parent "", which names no folder.
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir).at("create", dir)?;
    let mut aside = tempfile::Builder::new();
    // Readable as any new file is, and not by its owner only, as temporary files are.
    #[cfg(unix)]
    aside.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut aside = aside.tempfile_in(dir).at("create a file in", dir)?;
    let mut buffered = BufWriter::new(aside.as_file_mut());
    write(&mut buffered)?;
    buffered.flush().at("write", path)?;
    drop(buffered);
    aside.as_file().sync_all().at("write", path)?;
    Ok(aside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_is_replaced_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("deep/er/file");
        replace(&file, b"one").unwrap();
        replace(&file, b"two").unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn what_was_there_stays_when_writing_fails_half_way() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        replace(&file, b"one").unwrap();
        let failed = replace_with(&file, |file| {
            file.write_all(b"tw").at("write", "file")?;
            Err(crate::Error::invalid("no more"))
        });
        assert!(failed.is_err());
        assert_eq!(std::fs::read(&file).unwrap(), b"one");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_is_written_by_path_is_there_whole_or_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        replace_at(&file, |aside| std::fs::write(aside, b"one").at("write", aside)).unwrap();
        let failed = replace_at(&file, |aside| {
            std::fs::write(aside, b"tw").at("write", aside)?;
            Err(crate::Error::invalid("no more"))
        });
        assert!(failed.is_err());
        assert_eq!(std::fs::read(&file).unwrap(), b"one");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_there_already_is_not_created_again() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("deep/file");
        create(&file, b"one").unwrap();
        let error = create(&file, b"two").unwrap_err();
        assert!(
            matches!(&error, crate::Error::Io { source, .. } if source.kind() == std::io::ErrorKind::AlreadyExists)
        );
        assert_eq!(std::fs::read(&file).unwrap(), b"one");
        assert_eq!(std::fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
    }
}
