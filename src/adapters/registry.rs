//! The adapters of a working folder, each a folder of its own, by name.

use std::path::{Path, PathBuf};

use crate::error::{Error, IoContext, Result};
use crate::files;

/// Instead of an adapter's name: the model as it is.
pub const NONE: &str = "none";

/// The folder that holds them; it need not exist yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registry {
    dir: PathBuf,
}

impl Registry {
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// The folder of the adapter `name`, whether it exists or not.
    ///
    /// # Errors
    /// `Invalid` for a name that could not be a folder everywhere, or that means something else.
    pub fn place(&self, name: &str) -> Result<PathBuf> {
        if !files::names_a_folder(name) || [NONE, "base"].contains(&name) {
            return Err(Error::invalid(format!("`{}` cannot name an adapter", name.escape_debug()))
                .hint("up to 64 of a-z A-Z 0-9 - _ . and a letter or digit first; not `none` or `base`"));
        }
        Ok(self.dir.join(name))
    }

    /// The folder of the adapter that `name` means: one of these, or one's own, by its path.
    ///
    /// # Errors
    /// `NotFound`, with what there is.
    pub fn find(&self, name: &str) -> Result<PathBuf> {
        if let Ok(place) = self.place(name)
            && place.is_dir()
        {
            return Ok(place);
        }
        let path = Path::new(name);
        if path.is_dir() && (path.components().count() > 1 || path.join("adapter_config.json").exists()) {
            return std::path::absolute(path).at("find", path);
        }
        let there = self.names()?;
        let hint = match there.is_empty() {
            true => {
                "make one with `incontext tune`, or bring one with `incontext adapters import DIR`".to_owned()
            }
            false => format!("there are: {}", there.join(", ")),
        };
        Err(Error::not_found(format!("no adapter `{name}`")).hint(hint))
    }

    /// All names, sorted.
    ///
    /// # Errors
    /// `Io` when the folder cannot be read.
    pub fn names(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        let entries = match std::fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(names),
            Err(error) => return Err(error).at("read", &self.dir),
        };
        for entry in entries {
            let entry = entry.at("read", &self.dir)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.path().is_dir() && self.place(&name).is_ok() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// Removes the adapter `name`.
    ///
    /// # Errors
    /// `NotFound`; `Io` when it cannot be removed.
    pub fn remove(&self, name: &str) -> Result<()> {
        let place = self.place(name)?;
        if !place.is_dir() {
            self.find(name)?;
            return Err(
                Error::invalid(format!("`{name}` is a folder of your own")).hint("remove it yourself")
            );
        }
        std::fs::remove_dir_all(&place).at("remove", &place)
    }
}
