//! What will be done: flags over environment over the folder's `config.toml` over defaults.

use std::path::Path;

use serde::Deserialize;

use crate::engine::Places;
use crate::error::{Error, IoContext, Result};
use crate::hub;
use crate::index::Home;

/// The folder's own choices, `.incontext/config.toml`. Every key may be left out.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FolderConfig {
    pub collection: Option<String>,
    pub embedder: Option<String>,
    pub model: Option<String>,
    pub prompt: Option<String>,
}

/// Where this command works, and the folder's choices.
#[derive(Debug)]
pub struct Settings {
    pub home: Home,
    /// From the paths of the index to files, and to what is printed.
    pub places: Places,
    folder: FolderConfig,
}

impl Settings {
    /// `home` is the flag or the environment's word for it.
    ///
    /// # Errors
    /// `Invalid`, naming the key, when config.toml says something we do not know.
    pub fn resolve(home: Option<&Path>) -> Result<Self> {
        let here = std::env::current_dir().at("enter", ".")?;
        let home = Home::locate(home, &here);
        let folder = read_config(&home.dir().join("config.toml"))?;
        Ok(Self { places: Places::of(&home)?, home, folder })
    }

    pub fn collection(&self, flag: Option<&str>) -> String {
        pick(flag, "INCONTEXT_COLLECTION", self.folder.collection.as_deref(), "default")
    }

    pub fn embedder(&self, flag: Option<&str>) -> String {
        pick(flag, "INCONTEXT_EMBEDDER", self.folder.embedder.as_deref(), hub::DEFAULT_ENCODER)
    }

    pub fn model(&self, flag: Option<&str>) -> String {
        pick(flag, "INCONTEXT_MODEL", self.folder.model.as_deref(), hub::DEFAULT_GENERATOR)
    }

    pub fn prompt(&self, flag: Option<&str>) -> String {
        pick(flag, "INCONTEXT_PROMPT", self.folder.prompt.as_deref(), "qa/grounded")
    }
}

fn pick(flag: Option<&str>, variable: &str, folder: Option<&str>, default: &str) -> String {
    let environment = std::env::var(variable).ok().filter(|value| !value.is_empty());
    flag.map(str::to_owned).or(environment).unwrap_or_else(|| folder.unwrap_or(default).to_owned())
}

fn read_config(file: &Path) -> Result<FolderConfig> {
    let text = match std::fs::read_to_string(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(FolderConfig::default()),
        text => text.at("read", file)?,
    };
    toml::from_str(&text).map_err(|e| {
        Error::invalid(format!("`{}`: {}", file.display(), e.to_string().trim_end()))
            .hint("keys: collection, embedder, model, prompt")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_beats_the_folder_which_beats_the_default() {
        assert_eq!(pick(Some("a"), "INCONTEXT_NOBODY_SETS_THIS", Some("b"), "c"), "a");
        assert_eq!(pick(None, "INCONTEXT_NOBODY_SETS_THIS", Some("b"), "c"), "b");
        assert_eq!(pick(None, "INCONTEXT_NOBODY_SETS_THIS", None, "c"), "c");
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.toml");
        std::fs::write(&file, "modle = \"x\"\n").unwrap();
        let error = read_config(&file).unwrap_err();
        assert!(error.to_string().contains("modle"), "{error}");
    }
}
