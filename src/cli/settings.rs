//! What will be done: flags over environment over the folder's `config.toml` over defaults.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use crate::embed::HttpEncoder;
use crate::engine::Places;
use crate::error::{Error, IoContext, Result};
use crate::generate::HttpGenerator;
use crate::hub;
use crate::index::Home;
use crate::openai::{DEFAULT_BASE_URL, Endpoint};

/// The folder's own choices, `.incontext/config.toml`. Every key may be left out.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FolderConfig {
    pub collection: Option<String>,
    pub embedder: Option<String>,
    pub model: Option<String>,
    pub prompt: Option<String>,
    #[serde(default)]
    pub openai: OpenAi,
}

/// Where `openai:NAME` is served, `[openai]` in config.toml.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenAi {
    pub base_url: Option<String>,
    /// The NAME of the environment variable that holds the key. A key itself has no place in a file.
    pub api_key_env: Option<String>,
    /// Tokens the generator holds.
    pub context: Option<usize>,
    /// Tokens the encoder reads.
    pub window: Option<usize>,
    /// Seconds of silence to wait through.
    pub timeout: Option<u64>,
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

    /// Where the models named `openai:NAME` are served.
    ///
    /// # Errors
    /// `Invalid` for an address that is none, and for one beyond this machine when [`hub::OFFLINE`] is set; `NotFound`
    /// when config.toml takes the key from a variable that is not set.
    pub fn endpoint(&self) -> Result<Endpoint> {
        let endpoint = endpoint(&self.folder.openai, &variable)?;
        let offline = variable(hub::OFFLINE).is_some_and(|value| value != "0");
        if offline && !endpoint.is_local() {
            let what =
                format!("`{}` is not on this machine, and {} is set", endpoint.base_url(), hub::OFFLINE);
            return Err(Error::invalid(what).hint("name a server on this machine, or unset it"));
        }
        Ok(endpoint)
    }

    /// Tokens a generator behind the endpoint holds.
    pub fn endpoint_context(&self) -> usize {
        self.folder.openai.context.unwrap_or(HttpGenerator::CONTEXT)
    }

    /// Tokens an encoder behind the endpoint reads.
    pub fn endpoint_window(&self) -> usize {
        self.folder.openai.window.unwrap_or(HttpEncoder::WINDOW)
    }
}

/// An address and the key that was given with it. They come from one place, the environment or the folder: a folder that
/// somebody else made must not be able to have a key sent to an address of its choice by merely naming one.
fn endpoint(folder: &OpenAi, variable: &dyn Fn(&str) -> Option<String>) -> Result<Endpoint> {
    let first = |names: [&str; 2]| names.into_iter().find_map(variable);
    let environment = first(["INCONTEXT_OPENAI_BASE_URL", "OPENAI_BASE_URL"]);
    let (base_url, key) = match (environment, &folder.base_url) {
        (Some(base_url), _) => (base_url, first(["INCONTEXT_OPENAI_API_KEY", "OPENAI_API_KEY"])),
        (None, Some(base_url)) => (base_url.clone(), folder_key(folder, variable)?),
        (None, None) => (DEFAULT_BASE_URL.to_owned(), None),
    };
    let mut endpoint = Endpoint::new(&base_url, key.as_deref())?;
    if let Some(seconds) = folder.timeout {
        endpoint.patience.silence = Duration::from_secs(seconds.max(1));
    }
    Ok(endpoint)
}

fn folder_key(folder: &OpenAi, variable: &dyn Fn(&str) -> Option<String>) -> Result<Option<String>> {
    let Some(name) = &folder.api_key_env else { return Ok(None) };
    let key = variable(name).ok_or_else(|| {
        // Not what it says: it may be the key itself.
        Error::not_found("the environment variable that `api_key_env` in config.toml names is not set")
            .hint("`api_key_env` is the name of a variable, such as OPENAI_API_KEY, and never the key itself")
    })?;
    Ok(Some(key))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn pick(flag: Option<&str>, variable: &str, folder: Option<&str>, default: &str) -> String {
    flag.map(str::to_owned)
        .or_else(|| self::variable(variable))
        .unwrap_or_else(|| folder.unwrap_or(default).to_owned())
}

fn read_config(file: &Path) -> Result<FolderConfig> {
    let text = match std::fs::read_to_string(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(FolderConfig::default()),
        text => text.at("read", file)?,
    };
    toml::from_str(&text).map_err(|e| {
        Error::invalid(format!("`{}`: {}", file.display(), e.to_string().trim_end()))
            .hint("keys: collection, embedder, model, prompt; under [openai]: base_url, api_key_env, context, window, timeout")
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

    fn served(folder: &str, environment: &[(&str, &str)]) -> Result<(String, Option<String>)> {
        let folder: OpenAi = toml::from_str(folder).unwrap();
        let variable = |name: &str| {
            let found = environment.iter().find(|(there, _)| *there == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let endpoint = endpoint(&folder, &variable)?;
        Ok((endpoint.base_url().to_owned(), endpoint.key().map(str::to_owned)))
    }

    #[test]
    fn an_address_is_asked_with_the_key_that_was_given_with_it() {
        let (base, key) = (("OPENAI_BASE_URL", "http://env/v1"), ("OPENAI_API_KEY", "k"));
        let folder = "base_url = \"http://folder/v1\"";
        let named = "base_url = \"http://folder/v1\"\napi_key_env = \"MINE\"";
        let own = ("INCONTEXT_OPENAI_BASE_URL", "http://own/v1");
        let at = |url: &str, key: Option<&str>| (url.to_owned(), key.map(str::to_owned));
        assert_eq!(served("", &[]).unwrap(), at(DEFAULT_BASE_URL, None));
        assert_eq!(served("", &[key]).unwrap(), at(DEFAULT_BASE_URL, None));
        assert_eq!(served(named, &[base, key]).unwrap(), at("http://env/v1", Some("k")));
        assert_eq!(served(folder, &[base, own, key]).unwrap(), at("http://own/v1", Some("k")));
        assert_eq!(served(folder, &[key]).unwrap(), at("http://folder/v1", None));
        assert_eq!(served(named, &[key, ("MINE", "m")]).unwrap(), at("http://folder/v1", Some("m")));
        assert!(matches!(served(named, &[key]), Err(Error::NotFound(_))));
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
