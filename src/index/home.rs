//! Where built data lives: the folder `.incontext/` of a working folder, found by walking up, as git does.
//!
//! ```text
//! .incontext/
//!   .gitignore                 built data never lands in a repository
//!   collections/<name>/        see collection.rs
//!   cache/                     what could be computed again, see embed/cache.rs
//! ```

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::error::{Error, IoContext, Result};
use crate::files;

use super::collection::Collection;
use super::layout::prefix_on_server;
use super::lock::{Lock, Mode, Patience};
use super::store::Store;

/// The folder's name.
pub const FOLDER: &str = ".incontext";
/// Names the folder, over what walking up finds.
pub const VARIABLE: &str = "INCONTEXT_HOME";

/// A folder for built data; it need not exist yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    dir: PathBuf,
    root: PathBuf,
    /// Where the Qdrant server is, over what collections remember.
    server: Option<String>,
}

impl Home {
    /// The folder `chosen` (a flag), else the one `INCONTEXT_HOME` names, else the nearest `.incontext` at or above
    /// `from`, else `from/.incontext`, which is not there yet.
    pub fn locate(chosen: Option<&Path>, from: &Path) -> Self {
        Self::choose(chosen, std::env::var_os(VARIABLE).as_deref(), from)
    }

    fn choose(chosen: Option<&Path>, variable: Option<&OsStr>, from: &Path) -> Self {
        let variable = variable.filter(|value| !value.is_empty()).map(Path::new);
        if let Some(dir) = chosen.or(variable) {
            let dir = from.join(dir);
            let root = dir.parent().unwrap_or(&dir).to_owned();
            return Self { dir, root, server: None };
        }
        let root = from.ancestors().find(|folder| folder.join(FOLDER).is_dir()).unwrap_or(from);
        Self { dir: root.join(FOLDER), root: root.to_owned(), server: None }
    }

    /// The same folder, with the Qdrant server of its collections at `url`, wherever they remember it to be.
    #[must_use]
    pub fn with_server(self, url: Option<String>) -> Self {
        Self { server: url, ..self }
    }

    /// Where a Qdrant server is said to be.
    pub fn server(&self) -> Option<&str> {
        self.server.as_deref()
    }

    /// Opens the collection `name`.
    ///
    /// # Errors
    /// As [`Home::collection`] and [`Collection::open`].
    pub fn open(&self, name: &str) -> Result<Collection> {
        Ok(self.placed(Collection::open(&self.collection(name)?)?))
    }

    fn placed(&self, collection: Collection) -> Collection {
        match &self.server {
            Some(url) => collection.at(url),
            None => collection,
        }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The working folder, which ingested paths are relative to: the one that holds this folder. It does not depend on
    /// where a command is typed, so that `docs/a.md` of two projects that share a folder are two documents, and a
    /// citation opens from everywhere.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Makes the folder, and git ignore it.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be made.
    pub fn create(&self) -> Result<()> {
        let collections = self.dir.join("collections");
        std::fs::create_dir_all(&collections).at("create", &collections)?;
        let ignore = self.dir.join(".gitignore");
        if !ignore.exists() {
            std::fs::write(&ignore, "*\n").at("write", &ignore)?;
        }
        Ok(())
    }

    /// The folder of the collection `name`, whether it exists or not.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name that could not be a folder everywhere.
    pub fn collection(&self, name: &str) -> Result<PathBuf> {
        if !files::names_a_folder(name) {
            return Err(Error::invalid(format!("`{}` cannot name a collection", name.escape_debug()))
                .hint("up to 64 of a-z A-Z 0-9 - _ . and a letter or digit first"));
        }
        Ok(self.dir.join("collections").join(name))
    }

    /// Where vectors are kept that evaluations have computed; nothing is lost with it.
    pub fn embeddings(&self) -> PathBuf {
        self.dir.join("cache").join("embeddings")
    }

    /// The names of all collections, sorted.
    ///
    /// # Errors
    /// [`Error::Io`] when the folder cannot be read.
    pub fn collections(&self) -> Result<Vec<String>> {
        let dir = self.dir.join("collections");
        let entries = match std::fs::read_dir(&dir) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.at("read", &dir)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.at("read", &dir)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.starts_with('.') && entry.path().join(super::manifest::FILE).is_file() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// Removes a collection, once nobody reads or writes it: renamed aside, which is one step, then deleted. What a server
    /// keeps of it goes last.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none of that name, [`Error::Busy`] when patience runs out, [`Error::Transient`] when its
    /// server cannot be reached: the collection is gone here, and the error says what to delete there.
    pub fn remove(&self, name: &str, mut patience: Patience<'_>) -> Result<()> {
        let dir = self.collection(name)?;
        if !dir.is_dir() {
            return Err(Error::not_found(format!("there is no collection `{name}`"))
                .hint("`incontext collections list`"));
        }
        let _write = Lock::acquire(&dir.join("write.lock"), Mode::Exclusive, &mut patience)?;
        let data = Lock::data(&dir, Mode::Exclusive, &mut patience)?;
        // One that cannot be opened can be removed, too.
        let collection = Collection::open(&dir).map(|collection| self.placed(collection));
        let aside = self.dir.join("collections").join(format!(".removed-{}-{name}", std::process::id()));
        std::fs::rename(&dir, &aside).at("rename", &dir)?;
        drop(data);
        // Also what an earlier removal, cut short, has left.
        for entry in std::fs::read_dir(self.dir.join("collections")).at("read", &self.dir)?.flatten() {
            if entry.file_name().to_string_lossy().starts_with(".removed-") {
                std::fs::remove_dir_all(entry.path()).at("delete", entry.path())?;
            }
        }
        match collection.as_ref().ok().and_then(|collection| collection.profile().server.as_ref()) {
            Some(server) => Store::remove_from_server(server, &prefix_on_server(server)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_found_by_walking_up_and_made_where_one_stands_otherwise() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b");
        std::fs::create_dir_all(&deep).unwrap();
        assert_eq!(Home::choose(None, None, &deep).dir(), deep.join(FOLDER));
        std::fs::create_dir(dir.path().join(FOLDER)).unwrap();
        let home = Home::choose(None, None, &deep);
        assert_eq!((home.dir(), home.root()), (&*dir.path().join(FOLDER), dir.path()));
    }

    #[test]
    fn the_flag_beats_the_variable_which_beats_walking_up() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(FOLDER)).unwrap();
        let variable = Some(OsStr::new("/there"));
        assert_eq!(
            Home::choose(Some(Path::new("here")), variable, dir.path()).dir(),
            dir.path().join("here")
        );
        assert_eq!(Home::choose(None, variable, dir.path()).dir(), Path::new("/there"));
        assert_eq!(Home::choose(None, Some(OsStr::new("/a/there")), dir.path()).root(), Path::new("/a"));
        assert_eq!(Home::choose(None, Some(OsStr::new("")), dir.path()).dir(), dir.path().join(FOLDER));
    }

    #[test]
    fn a_collection_is_named_plainly() {
        let home = Home::choose(None, None, Path::new("/w"));
        assert_eq!(home.collection("notes-1.x").unwrap(), Path::new("/w/.incontext/collections/notes-1.x"));
        for name in ["", "..", ".x", "a/b", "a\\b", "ü", "a\nb", &"x".repeat(65)] {
            assert!(matches!(home.collection(name), Err(Error::Invalid(_))), "{name}");
        }
    }

    #[test]
    fn removal_is_complete_and_a_collection_that_is_not_there_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::choose(None, None, dir.path());
        assert_eq!(home.collections().unwrap(), Vec::<String>::new());
        home.create().unwrap();
        for name in ["b", "a"] {
            let folder = home.collection(name).unwrap();
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(super::super::manifest::FILE), "").unwrap();
        }
        assert_eq!(home.collections().unwrap(), ["a", "b"]);
        home.remove("a", Patience::default()).unwrap();
        assert_eq!(home.collections().unwrap(), ["b"]);
        assert_eq!(std::fs::read_dir(home.dir().join("collections")).unwrap().count(), 1);
        assert!(matches!(home.remove("a", Patience::default()), Err(Error::NotFound(_))));
    }
}
