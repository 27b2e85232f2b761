//! A file written aside, synced and given its name; one that is there is replaced only when that was asked for.

use std::io::{ErrorKind, Write};
use std::path::Path;

use crate::error::{Error, IoContext, Result};

/// # Errors
/// `Invalid` when the file is there and is not to be replaced, `NotFound` when its folder is not; `Io` when it cannot be written.
pub fn save(file: &Path, text: &str, replace: bool) -> Result<()> {
    let there = |_| {
        let shown = file.display();
        Error::invalid(format!("`{shown}` is there already")).hint(format!("`/save! {shown}` replaces it"))
    };
    // Said before anything is written; what happens meanwhile is noticed at the end.
    if !replace && file.symlink_metadata().is_ok() {
        return Err(there(()));
    }
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        return Err(Error::not_found(format!("there is no folder `{}`", folder.display()))
            .hint("make it first, or save elsewhere"));
    }
    // Readable for its owner alone: so may be what was asked.
    let mut aside = tempfile::NamedTempFile::new_in(folder).at("create a file in", folder)?;
    aside.write_all(text.as_bytes()).and_then(|()| aside.as_file().sync_all()).at("write", file)?;
    if replace {
        aside.persist(file).map_err(|error| error.error).at("write", file)?;
        return Ok(());
    }
    match aside.persist_noclobber(file) {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == ErrorKind::AlreadyExists => Err(there(())),
        Err(error) => Err(error.error).at("write", file),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_is_not_replaced_unless_asked_and_nothing_is_left_lying_about() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("talk.md");
        save(&file, "one", false).unwrap();
        let error = save(&file, "two", false).unwrap_err();
        assert!(error.advice().unwrap().starts_with("`/save! "), "{error:?}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "one");
        save(&file, "two", true).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "two");
        assert!(matches!(save(&folder.path().join("no/where.md"), "x", true), Err(Error::NotFound(_))));
        assert!(save(folder.path(), "x", true).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
