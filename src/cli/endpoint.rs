//! Where `openai:NAME` is served: the address, the key that goes with it, and how patient to be.

use std::time::Duration;

use serde::Deserialize;

use super::settings::Settings;
use crate::embed::HttpEncoder;
use crate::error::{Error, Result};
use crate::generate::HttpGenerator;
use crate::hub;
use crate::openai::{DEFAULT_BASE_URL, Endpoint};

/// Our own variables of an endpoint: its address, and the key that goes with it.
pub const BASE_URL: &str = "INCONTEXT_OPENAI_BASE_URL";
pub const KEY: &str = "INCONTEXT_OPENAI_API_KEY";

/// Keys under `[openai]`.
pub const KEYS: &str = "base_url, api_key_env, context, window, timeout";

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

impl Settings {
    /// Where the models named `openai:NAME` are served.
    ///
    /// # Errors
    /// `Invalid` for an address that is none, and for one beyond this machine when [`hub::OFFLINE`] is set; `NotFound`
    /// when config.toml takes the key from a variable that is not set.
    pub fn endpoint(&self) -> Result<Endpoint> {
        let endpoint = endpoint(self.openai(), &variable)?;
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
        self.openai().context.unwrap_or(HttpGenerator::CONTEXT)
    }

    /// Tokens an encoder behind the endpoint reads.
    pub fn endpoint_window(&self) -> usize {
        self.openai().window.unwrap_or(HttpEncoder::WINDOW)
    }
}

/// An address and the key that was given with it. They come from one place, the environment or the folder: a folder that
/// somebody else made must not be able to have a key sent to an address of its choice by merely naming one.
fn endpoint(folder: &OpenAi, variable: &dyn Fn(&str) -> Option<String>) -> Result<Endpoint> {
    let first = |names: [&str; 2]| names.into_iter().find_map(variable);
    let environment = first([BASE_URL, "OPENAI_BASE_URL"]);
    let (base_url, key) = match (environment, &folder.base_url) {
        (Some(base_url), _) => (base_url, first([KEY, "OPENAI_API_KEY"])),
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
